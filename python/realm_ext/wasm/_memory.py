"""A guest's memory as a host function sees it: every range is checked before it is touched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from wasmtime import Memory
from wasmtime._store import Storelike

from realm_ext.errors import InvalidRequest


class GuestMemory:
    """Reads and writes for one call of the host.

    A guest's numbers arrive signed; `unsigned` makes addresses, lengths and counts of them. Sums
    and products of those are integers of Python, which do not wrap around. A guest without a memory
    has one of no bytes.
    """

    def __init__(self, store: Storelike, memory: Memory | None, is_64: bool) -> None:
        self._store = store
        self._memory = memory
        self._width = 8 if is_64 else 4
        self._mask = (1 << 8 * self._width) - 1
        self.bytes_moved = 0

    def unsigned(self, value: int) -> int:
        """An address, length or count as the guest means it."""
        return value & self._mask

    def read(self, ptr: int, n_bytes: int) -> bytearray:
        """A copy of some bytes."""
        self._check(ptr, n_bytes)
        if self._memory is None or n_bytes == 0:
            return bytearray()
        return self._memory.read(self._store, ptr, ptr + n_bytes)

    def write(self, ptr: int, data: bytes | bytearray) -> None:
        """Puts bytes there."""
        self._check(ptr, len(data))
        if self._memory is not None and data:
            self._memory.write(self._store, data, ptr)

    def check_room(self, ptr: int, n_bytes: int) -> None:
        """Refuses a range that is not in the memory."""
        self._check(ptr, n_bytes, 0)

    def read_ids(self, ptr: int, n: int) -> NDArray[np.int32]:
        """Token ids, 32 bits each."""
        return np.frombuffer(self.read(ptr, 4 * n), "<i4")

    def read_rows(self, ptr: int, n_rows: int, width: int) -> NDArray[np.float32]:
        """Rows of floats, 32 bits each."""
        return np.frombuffer(self.read(ptr, 4 * n_rows * width), "<f4").reshape(n_rows, width)

    def write_floats(self, ptr: int, values: NDArray[np.float32]) -> None:
        """Floats, 32 bits each."""
        self.write(ptr, bytearray(values.astype("<f4", copy=False).tobytes()))

    def give(self, data: bytes, unit: int, ptr: int, capacity: int, count_ptr: int) -> None:
        """Says how many units there are, and writes them if there is room for all."""
        n = len(data) // unit
        self.check_room(ptr, capacity * unit)
        self.write(count_ptr, n.to_bytes(self._width, "little"))
        if n <= capacity:
            self.write(ptr, data)

    def check_count(self, count_ptr: int) -> None:
        """Refuses a place for a count that is not in the memory."""
        self.check_room(count_ptr, self._width)

    def _check(self, ptr: int, n_bytes: int, n_moved: int | None = None) -> None:
        size = self._memory.data_len(self._store) if self._memory is not None else 0
        if n_bytes > size or ptr > size - n_bytes:
            raise InvalidRequest(
                f"{n_bytes} bytes at {ptr} are not in the guest's memory of {size} bytes"
            )
        self.bytes_moved += n_bytes if n_moved is None else n_moved
