"""What the commands that write a model again say of its tensors."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from realm_ext.cli.text import printable


class Rewritten(Protocol):
    """A tensor that was written in some format, and what that cost."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def to_dtype(self) -> str: ...  # noqa: D102
    @property
    def relative_error(self) -> float: ...  # noqa: D102


def formats(tensors: Iterable[Rewritten]) -> str:
    """``12 Q4_K, 3 Q6_K``."""
    counts = Counter(tensor.to_dtype for tensor in tensors)
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def largest_error(tensors: Iterable[Rewritten]) -> str | None:
    """The tensor that lost most; None if none lost anything."""
    worst = max(tensors, key=lambda tensor: tensor.relative_error, default=None)
    if worst is None or worst.relative_error == 0:
        return None
    return f"largest relative rms error {worst.relative_error:.3g} in {printable(worst.name)}"
