"""A model's layers, one by one, on rows that the caller holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from realm_ext import _core
from realm_ext._token_ids import as_token_ids
from realm_ext.adapters import chosen
from realm_ext.errors import InvalidRequest
from realm_ext.model import Model

if TYPE_CHECKING:
    from typing_extensions import Self

    from realm_ext.adapters import AdapterChoice

Rows = NDArray[np.floating[Any]]


class LayerSession:
    """One sequence whose layers the caller runs: to look into a model, or to change what flows.

    A step is some rows at the positions that come next. They go through layers 0, 1, ... in order,
    and with the last layer they belong to the sequence. What comes out is `Model.logits` of the same
    tokens, cache and adapters, bit for bit, however the tokens are cut into steps. A call that fails
    leaves the session where it was. One thread at a time.

    Example:
        >>> import numpy as np, realm_ext
        >>> model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
        >>> tokens = model.tokenizer.encode("The capital of France is")
        >>> session = realm_ext.LayerSession(model)
        >>> rows = session.embed_tokens(tokens)
        >>> for layer in range(model.config.n_layers):
        ...     rows = session.forward_layer(layer, rows)
        >>> bool((session.compute_logits(rows) == model.logits(tokens)).all())
        True

    Args:
        model: The model.
        adapter: None, the name of an adapter that the model has loaded, or pairs of names and
            scales. The session keeps them, whatever is loaded under their names later.
        max_tokens: The length that the sequence may reach; by default the model's context.
        max_rows: Rows of one step at most.
        kv_dtype: Storage type of keys and values; an engine's is ``"f16"``.

    Raises:
        InvalidRequest: A number makes no sense, or there is no such adapter.
        OutOfMemoryError: There is no memory for keys and values.
    """

    def __init__(
        self,
        model: Model,
        adapter: AdapterChoice = None,
        *,
        max_tokens: int | None = None,
        max_rows: int = 512,
        kv_dtype: str = "f32",
    ) -> None:
        """See the class."""
        if max_tokens is not None and max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {max_tokens}; must be at least 1")
        self._core = _core.LayerSession(
            model.core,
            max_tokens=max_tokens or 0,
            max_rows=max_rows,
            kv_dtype=kv_dtype,
            adapters=chosen(adapter),
        )

    @classmethod
    def of(cls, core: _core.LayerSession) -> Self:
        """Around a compiled session."""
        session = cls.__new__(cls)
        session._core = core
        return session

    def embed_tokens(
        self,
        tokens: Sequence[int] | NDArray[np.integer],
        *,
        cancel: _core.CancelFlag | None = None,
    ) -> NDArray[np.float32]:
        """The rows `[T, E]` of tokens at the positions that come next. Changes nothing.

        Raises:
            InvalidRequest: In the middle of a step; a token that the model does not have; more
                than the sequence or a step holds.
        """
        return self._core.embed_tokens(as_token_ids(tokens), cancel)

    def forward_layer(
        self, layer: int, rows: Rows, *, cancel: _core.CancelFlag | None = None
    ) -> NDArray[np.float32]:
        """What a layer makes of the rows of a step; layer 0 begins one, with rows of any origin.

        Raises:
            FormatError: The layer makes NaN or infinities of them.
            InvalidRequest: The layer is not the next one; the rows are not as many as the step has,
                more than the sequence holds, or not finite.
        """
        return self._core.forward_layer(layer, np.asarray(rows), cancel)

    def compute_logits(
        self, rows: Rows, *, cancel: _core.CancelFlag | None = None
    ) -> NDArray[np.float32]:
        """The logits `[T, V]` after rows; needs no step and changes nothing.

        Raises:
            FormatError: The model makes NaN or infinities of them.
            InvalidRequest: They are not rows of this model, more than a step has, or not finite.
        """
        return self._core.compute_logits(np.asarray(rows), cancel)

    def truncate(self, n: int) -> None:
        """Gives up the step under way, and forgets everything from position `n` on."""
        self._core.truncate(n)

    @property
    def length(self) -> int:
        """Rows that went through all layers."""
        return self._core.length

    @property
    def capacity(self) -> int:
        """The length that the sequence may reach."""
        return self._core.capacity

    @property
    def max_rows(self) -> int:
        """Rows of one step at most."""
        return self._core.max_rows

    @property
    def next_layer(self) -> int:
        """What `forward_layer` takes next; 0 between steps."""
        return self._core.next_layer

    @property
    def bytes(self) -> int:
        """Memory of keys, values and working space."""
        return self._core.bytes
