"""Whole numbers on their way into the core, where they must fit."""

from __future__ import annotations

import operator

from realm_ext.errors import InvalidRequest


def require_whole(name: str, value: int | None, *, least: int = 0, most: int = 2**63 - 1) -> None:
    """Accepts None, too.

    Raises:
        InvalidRequest: It is no whole number, or out of range.
    """
    if value is None:
        return
    try:
        whole = operator.index(value)
    except TypeError:
        raise InvalidRequest(f"{name} is {value!r}; must be a whole number") from None
    if not least <= whole <= most:
        raise InvalidRequest(f"{name} is {value}; must be {least} to {most}")
