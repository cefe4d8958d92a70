"""One guest: an instance in a store of its own, and the limits around every call of it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from wasmtime import (
    Caller,
    Func,
    Instance,
    Linker,
    Memory,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasmtimeError,
)

from realm_ext.errors import InvalidRequest, ProcessForkedError, RealmError
from realm_ext.wasm._abi import FUNCTIONS, MODULE, OK, status_of, type_of
from realm_ext.wasm._calls import CallState, HostCalls
from realm_ext.wasm._limits import GuestError, Limits, StopReason
from realm_ext.wasm._memory import GuestMemory
from realm_ext.wasm._program import Program, make_engine
from realm_ext.wasm._watchdog import Watchdog

if TYPE_CHECKING:
    from typing_extensions import Self

Result = TypeVar("Result")

_CALL_FUEL = 10_000  # of a call of the host, besides one for each byte that it moves

_TRAPS: dict[TrapCode | None, StopReason] = {
    TrapCode.OUT_OF_FUEL: "fuel",
    TrapCode.STACK_OVERFLOW: "stack",
}

_REASONS = {
    "fuel": "its fuel is used up",
    "time": "its time is over",
    "stack": "its stack is used up",
    "failures": "too many of its calls of the host failed",
    "closed": "it was closed",
    "trap": "it trapped",
}


class Guest:
    """A program in WebAssembly that acts for one tenant; `Host.guest` makes it.

    One thread at a time calls it; `close` may be called from any. A guest that was stopped, by a
    limit or by what it did, is not called again. Nothing that a guest does reaches another guest,
    another tenant, or the host, but as work that counts against its tenant's quota.
    """

    def __init__(
        self, program: Program, calls: HostCalls, limits: Limits, watchdog: Watchdog
    ) -> None:
        self._calls = calls
        self._limits = limits
        self._watchdog = watchdog
        self._is_64 = program.is_64
        self._pid = os.getpid()
        self._busy = threading.Lock()
        self._lock = threading.Lock()  # of what follows
        self._stopped: StopReason | None = None
        self._raised: BaseException | None = None
        self._failures = 0

        # An engine of its own: its epoch is this guest's alone, and ends it at once.
        self._engine = make_engine()
        self._store = Store(self._engine)
        self._store.set_limits(
            memory_size=limits.memory_bytes,
            table_elements=limits.table_elements,
            instances=1,
            tables=4,
            memories=1,
        )
        self._module = program.load(self._engine)
        self._linker = Linker(self._engine)
        for name, parameters in FUNCTIONS.items():
            self._linker.define_func(
                MODULE,
                name,
                type_of(parameters, program.is_64),
                partial(_call_host, weakref.ref(self), name),
                access_caller=True,
            )
        self._instance: Instance | None = None

    def start(self) -> None:
        """Makes the instance, whose `start` function runs."""
        instantiate = partial(self._linker.instantiate, self._store, self._module)
        self._instance = self._run(lambda: instantiate)

    def call(self, name: str, *arguments: float) -> Any:
        """Calls a function that the guest exports.

        Args:
            name: The export.
            arguments: One number for each parameter.

        Returns:
            What it returns: None, a number, or a list of numbers. Integers are signed.

        Raises:
            GuestError: The guest was stopped; `reason` says why.
            InvalidRequest: There is no such function, the arguments do not fit it, the guest is
                closed, or it is in use by another call.
        """
        return self._run(lambda: self._bound(name, arguments))

    def read(self, ptr: int, n_bytes: int) -> bytes:
        """Bytes of the guest's memory.

        Raises:
            InvalidRequest: They are not all in it.
        """
        return self._alone(lambda: bytes(self._memory().read(ptr, _natural(n_bytes))), ptr)

    def write(self, ptr: int, data: bytes) -> None:
        """Puts bytes into the guest's memory.

        Raises:
            InvalidRequest: They do not all fit.
        """
        self._alone(lambda: self._memory().write(ptr, data), ptr)

    @property
    def last_error(self) -> str:
        """Why the last call of the host that failed did so."""
        return self._calls.error_text

    @property
    def stopped(self) -> StopReason | None:
        """Why it is not called any more; None if it is."""
        return self._stopped

    def close(self) -> None:
        """Stops the guest, also while it runs, and frees what it has. The tenant stays."""
        self._stop("closed")
        if self._busy.acquire(blocking=False):
            self._leave()

    def __enter__(self) -> Self:
        """The guest itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()

    # ---- around the guest

    def _alone(self, act: Callable[[], Result], *naturals: int) -> Result:
        """Calls `act` when nobody else is in the guest. A store has no locks of its own."""
        for value in naturals:
            _natural(value)
        if os.getpid() != self._pid:
            raise ProcessForkedError("this guest belongs to the process that made it")
        if not self._busy.acquire(blocking=False):
            raise InvalidRequest("this guest is in use by another call")
        try:
            self._require_alive()
            return act()
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._stopped is not None:
            self._calls.close()
            self._store.close()
        self._busy.release()

    def _require_alive(self) -> None:
        if self._stopped is not None:
            raise InvalidRequest(f"this guest is stopped: {_REASONS[self._stopped]}")

    def _run(self, bind: Callable[[], Callable[[], Result]]) -> Result:
        """Runs code of the guest: what `bind` gives, after it has looked at the arguments."""
        return self._alone(lambda: self._bounded(bind()))

    def _bound(self, name: str, arguments: tuple[float, ...]) -> Callable[[], Any]:
        function = self._exports().get(name)
        if not isinstance(function, Func):
            raise InvalidRequest(f"the guest exports no function {name!r}")
        kind = function.type(self._store)
        if not all(_is_number(result) for result in kind.results):
            raise InvalidRequest(f"{name} gives back what is no number")
        types = kind.params
        if len(types) != len(arguments):
            raise InvalidRequest(f"{name} takes {len(types)} numbers, not {len(arguments)}")
        given = [_argument(value, kind) for value, kind in zip(arguments, types, strict=True)]
        return partial(function, self._store, *given)

    def _bounded(self, act: Callable[[], Result]) -> Result:
        """Runs code of the guest within its limits."""
        self._failures = 0
        deadline = time.monotonic() + self._limits.timeout_ms / 1000
        with self._lock:
            self._require_alive()
            self._calls.call = CallState(deadline)
            self._store.set_fuel(self._limits.fuel)
            self._store.set_epoch_deadline(1)
        trap: Exception | None = None
        with self._watchdog.watch(deadline, partial(self._stop, "time")):
            try:
                result = act()
            except (Trap, WasmtimeError) as error:
                trap = error
                code = error.trap_code if isinstance(error, Trap) else None
                self._stop(_TRAPS.get(code, "trap"))
        if self._raised is not None:
            raise self._raised
        if self._stopped is not None:
            detail = f": {_first_line(trap)}" if self._stopped == "trap" else ""
            message = f"the guest was stopped: {_REASONS[self._stopped]}{detail}"
            raise GuestError(message, self._stopped) from trap
        return result

    def _stop(self, reason: StopReason) -> None:
        """Ends the guest at its next loop or call, and what the host computes for it."""
        with self._lock:
            if self._stopped is None:
                self._stopped = reason
            call = self._calls.call
            call.cancel.raise_()
            self._engine.increment_epoch()
            if (end := call.end) is not None:
                end()

    # ---- called by the guest

    def host_call(self, name: str, caller: Caller, *values: int) -> int:
        """What a function of the host returns to the guest.

        Raises nothing, ever: the bindings keep one exception for all threads of the process.
        """
        try:
            self._burn(_CALL_FUEL)
            if self._stopped is not None:
                return -9
            memory = self._memory_of(caller)
            unsigned = [
                memory.unsigned(value) if kind == "p" else value
                for kind, value in zip(FUNCTIONS[name], values, strict=True)
            ]
            try:
                function = getattr(self._calls, name.removeprefix("realm_"))
                return function(memory, *unsigned) or OK
            finally:
                self._burn(memory.bytes_moved)
        except RealmError as error:
            return self._failed(error)
        except BaseException as error:
            self._raised = error
            self._stop("trap")
            return -1

    def _failed(self, error: RealmError) -> int:
        self._calls.error_text = str(error)
        self._failures += 1
        if self._failures > self._limits.failures:
            self._stop("failures")
        return status_of(error)

    def _burn(self, fuel: int) -> None:
        left = self._store.get_fuel() - fuel
        self._store.set_fuel(max(0, left))
        if left < 0:
            self._stop("fuel")

    def _memory_of(self, caller: Caller) -> GuestMemory:
        memory = caller.get("memory")
        return GuestMemory(self._store, memory if isinstance(memory, Memory) else None, self._is_64)

    def _memory(self) -> GuestMemory:
        memory = self._exports().get("memory")
        return GuestMemory(self._store, memory if isinstance(memory, Memory) else None, self._is_64)

    def _exports(self) -> dict[str, Any]:
        if self._instance is None:
            raise InvalidRequest("this guest has not started")
        return dict(self._instance.exports(self._store))


def _call_host(guest: weakref.ref[Guest], name: str, caller: Caller, *values: int) -> int:
    # The bindings hold their functions in a list of their own, and those must not hold the guest.
    alive = guest()
    return alive.host_call(name, caller, *values) if alive is not None else -1


def _is_number(kind: ValType) -> bool:
    return str(kind) in ("i32", "i64", "f32", "f64")


def _argument(value: object, kind: ValType) -> int | float:
    if kind in (ValType.f32(), ValType.f64()) and isinstance(value, (int, float)):
        return float(value)
    bits = {"i32": 32, "i64": 64}.get(str(kind), 0)
    if not isinstance(value, int) or not -(2**bits) <= 2 * value < 2 ** (bits + 1):
        raise InvalidRequest(f"the argument {value!r} is no {kind}")
    return value if 2 * value < 2**bits else value - 2**bits


def _natural(value: int) -> int:
    if not isinstance(value, int) or value < 0:
        raise InvalidRequest(f"{value!r} is no address or length")
    return value


def _first_line(error: Exception | None) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
