"""The host of guests: compiles their code, and gives each a tenant's rights."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from realm_ext.errors import InvalidRequest
from realm_ext.wasm._calls import Grants, HostCalls
from realm_ext.wasm._guest import Guest
from realm_ext.wasm._limits import Limits
from realm_ext.wasm._program import Program, compile_program, make_engine
from realm_ext.wasm._watchdog import Watchdog

if TYPE_CHECKING:
    from typing_extensions import Self

    from realm_ext.runtime import Runtime
    from realm_ext.tenant import Tenant


class Host:
    """Runs guests in WebAssembly over a runtime. Any thread may use it.

    Args:
        runtime: Whose models and tenants they use.
        limits: What a guest may take for which nothing else is said.
    """

    def __init__(self, runtime: Runtime, limits: Limits | None = None) -> None:
        self._runtime = runtime
        self._limits = limits or Limits()
        self._engine = make_engine()
        self._watchdog = Watchdog()
        self._lock = threading.Lock()  # of what follows
        self._guests: dict[tuple[str, str], weakref.ref[Guest]] = {}
        self._is_closed = False

    def compile(self, source: str | bytes) -> Program:
        """Compiles a guest's code, which any number of guests may then run.

        Compiling takes time by the size of the code, which `module_bytes` limits.

        Args:
            source: A module in WebAssembly's binary or text format.

        Raises:
            FormatError: It is no module, or needs what a host does not have.
            InvalidRequest: It is too large.
        """
        return compile_program(self._engine, source, self._limits.module_bytes)

    def guest(
        self,
        program: Program | str | bytes,
        tenant: Tenant,
        *,
        limits: Limits | None = None,
        adapters: Sequence[str] = (),
        models: Sequence[str] | None = None,
        may_store_drafts: bool = False,
    ) -> Guest:
        """Makes a guest that acts for a tenant; its `start` function runs at once.

        Args:
            program: What `compile` gave, or a module to compile.
            tenant: For whom it acts; one guest at a time has it. Quota, weight and adapter are the
                tenant's, and it stays when the guest goes.
            limits: By default the host's.
            adapters: Ids of the adapters that it may set for its tenant.
            models: Ids of the models that it may name, by index; by default its tenant's alone.
            may_store_drafts: Whether it may store draft models for those, which all their tenants
                would use.

        Raises:
            FormatError: The module needs what a host does not have.
            GuestError: It was stopped while it started, or needs more than its limits.
            InvalidRequest: The tenant has a guest, or was released.
        """
        limits = limits or self._limits
        if not isinstance(program, Program):
            program = compile_program(self._engine, program, limits.module_bytes)
        named = tuple(models) if models is not None else (tenant.model_id,)
        grants = Grants(named, tuple(adapters), may_store_drafts)
        calls = HostCalls(self._runtime, tenant, limits, grants)
        guest = Guest(program, calls, limits, self._watchdog)
        self._admit(guest, (tenant.id, tenant.model_id))
        guest.start()
        return guest

    def _admit(self, guest: Guest, key: tuple[str, str]) -> None:
        with self._lock:
            if self._is_closed:
                raise InvalidRequest("the host is closed")
            other = self._guests.get(key, lambda: None)()
            if other is not None and other.stopped is None:
                raise InvalidRequest(f"tenant {key[0]} has a guest already")
            self._guests[key] = weakref.ref(guest)

    def close(self) -> None:
        """Stops all guests. The runtime and its tenants stay."""
        with self._lock:
            self._is_closed = True
            guests = [guest for one in self._guests.values() if (guest := one()) is not None]
        for guest in guests:
            guest.close()

    def __enter__(self) -> Self:
        """The host itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()
