"""Token ids on their way into the core."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from realm_ext.errors import InvalidRequest


def as_token_ids(tokens: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int32]:
    """The ids as the core takes them. What is no integer is refused, never rounded into one.

    Raises:
        InvalidRequest: There is something that no vocabulary can have as an id.
    """
    given = np.asarray(tokens)
    if given.ndim > 1:
        raise InvalidRequest(f"token ids must be one list, not {given.ndim} levels of lists")
    if given.size == 0:
        return given.astype(np.int32)
    if given.dtype.kind not in "iu":
        raise InvalidRequest(f"token ids must be integers, not {given.dtype}")
    ids = given.astype(np.int32)
    if (beyond := ids != given).any():
        raise InvalidRequest(f"token id {given[beyond][0]} is in no vocabulary")
    return ids
