"""What a guest may take, and what its caller is told when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from realm_ext.errors import InvalidRequest, RealmError

StopReason = Literal["fuel", "time", "stack", "failures", "closed", "trap"]


class GuestError(RealmError):
    """A guest was stopped, and is not called again.

    Attributes:
        reason: ``"fuel"``, ``"time"``, ``"stack"`` or ``"failures"`` for a limit, ``"closed"`` if
            it was closed meanwhile, ``"trap"`` if it did what WebAssembly forbids.
    """

    def __init__(self, message: str, reason: StopReason) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one guest may take, besides its tenant's quota.

    Attributes:
        fuel: Instructions of one call, about; calls of the host's functions and the bytes that they
            move count too.
        timeout_ms: How long one call may take in all.
        memory_bytes: The guest's memory at most.
        module_bytes: The guest's code at most, in either format: compiling it takes time.
        table_elements: Elements of its tables together.
        text_bytes: A text to encode at most.
        step_rows: Rows of a step through the layers at most: how long a guest may hold up others.
        failures: Calls of the host that may fail in one call of the guest. A guest that goes on
            after so many has no use for errors.
    """

    fuel: int = 20_000_000_000
    timeout_ms: int = 30_000
    memory_bytes: int = 64 << 20
    module_bytes: int = 4 << 20
    table_elements: int = 10_000
    text_bytes: int = 256 << 10
    step_rows: int = 128
    failures: int = 1000

    def __post_init__(self) -> None:
        """Refuses what makes no sense."""
        for name in self.__slots__:
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value < 2**63:
                raise InvalidRequest(f"{name} is {value!r}; must be an integer of at least 1")
