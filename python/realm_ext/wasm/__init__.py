"""Guests in WebAssembly: programs of others, each a tenant of a runtime, in a sandbox.

A guest orchestrates models through the functions that the host links into its imports; what they
are and how they take their arguments is in docs/wasm.md. Needs the extra `wasm`.

Example:
    >>> import realm_ext
    >>> from realm_ext.wasm import Host
    >>> runtime = realm_ext.Runtime()
    >>> runtime.load_model(realm_ext.ModelSpec("demo", realm_ext.demo_path("target.gguf")))
    >>> tenant = runtime.get_or_create("guest-1", "demo")
    >>> guest = Host(runtime).guest('''(module
    ...   (import "realm" "realm_abi_version" (func $version (result i32)))
    ...   (func (export "run") (result i32) (call $version)))''', tenant)
    >>> guest.call("run")
    1
    >>> runtime.close()
"""

from realm_ext.errors import ExtraMissingError

try:
    import wasmtime  # noqa: F401  # asked for here, so that its absence has one message
except ImportError as error:
    raise ExtraMissingError("realm_ext.wasm", "wasm", error) from error

from realm_ext.wasm._abi import ABI_VERSION
from realm_ext.wasm._guest import Guest
from realm_ext.wasm._host import Host
from realm_ext.wasm._limits import GuestError, Limits
from realm_ext.wasm._program import Program

__all__ = ["ABI_VERSION", "Guest", "GuestError", "Host", "Limits", "Program"]
