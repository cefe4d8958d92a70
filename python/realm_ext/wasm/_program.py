"""Code of guests, compiled and checked once for any number of them."""

from __future__ import annotations

from dataclasses import dataclass

from wasmtime import (
    Config,
    Engine,
    FuncType,
    MemoryType,
    Module,
    WasmtimeError,
    wat2wasm,
)

from realm_ext.errors import FormatError, InvalidRequest
from realm_ext.wasm._abi import FUNCTIONS, MODULE, type_of

_STACK_BYTES = 256 << 10  # of a guest; the smallest threads of any system have more


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled guest; `Host.compile` makes it.

    Attributes:
        is_64: Whether its memory has 64-bit addresses.
    """

    is_64: bool
    _code: bytearray

    def load(self, engine: Engine) -> Module:
        """The code for an engine of `make_engine`."""
        return Module.deserialize(engine, self._code)


def make_engine() -> Engine:
    """An engine as all guests have it: deterministic, bounded, without threads."""
    config = Config()
    config.consume_fuel = True
    config.epoch_interruption = True
    config.max_wasm_stack = _STACK_BYTES
    config.parallel_compilation = False
    config.cranelift_nan_canonicalization = True
    config.wasm_memory64 = True
    config.wasm_threads = False
    config.wasm_multi_memory = False
    config.wasm_gc = False
    # What follows has types that the bindings cannot name: they end the process when they see one.
    config.wasm_relaxed_simd = False
    config.wasm_simd = False
    config.wasm_function_references = False
    config.wasm_exceptions = False
    config.wasm_stack_switching = False
    return Engine(config)


def compile_program(engine: Engine, source: str | bytes, max_bytes: int) -> Program:
    """Compiles and checks the code of a guest, in text or binary format.

    Raises:
        FormatError: It is no module, imports what a host does not have, or has a memory that a host
            cannot use.
        InvalidRequest: It is above `max_bytes`.
    """
    if not isinstance(source, (str, bytes)):
        raise InvalidRequest(f"a guest's code is str or bytes, not {type(source).__name__}")
    try:
        wasm = source.encode() if isinstance(source, str) else source
    except UnicodeEncodeError as error:
        raise FormatError(f"a guest's text is no UTF-8: {error}") from error
    if len(wasm) > max_bytes:
        raise InvalidRequest(f"a guest's code has {len(wasm)} bytes; module_bytes is {max_bytes}")
    try:
        # Text is turned into binary here, and its size looked at again: repeats are short to write.
        binary = bytes(wasm) if wasm[:1] == b"\0" else bytes(wat2wasm(wasm))
        if len(binary) > max_bytes:
            raise InvalidRequest(
                f"a guest's code has {len(binary)} bytes; module_bytes is {max_bytes}"
            )
        module = Module(engine, binary)
        is_64 = _check_memory(module)
        _check_imports(module, is_64)
        return Program(is_64, module.serialize())
    except WasmtimeError as error:
        raise FormatError(f"a guest's code is no module: {error}") from error


def _check_memory(module: Module) -> bool:
    """Whether addresses have 64 bits; of the export `memory`, without which nothing has any."""
    found = {one.name: one.type for one in module.exports}.get("memory")
    if found is None:
        return False
    if not isinstance(found, MemoryType):
        raise FormatError("the guest's export 'memory' is no memory")
    if found.is_shared:
        raise FormatError("the guest's memory is shared, and must be its own")
    return found.is_64


def _check_imports(module: Module, is_64: bool) -> None:
    for one in module.imports:
        name = f"{one.module}.{one.name}"
        if one.module != MODULE or one.name not in FUNCTIONS:
            raise FormatError(f"the guest imports {name}, which a host does not have")
        wanted = type_of(FUNCTIONS[one.name], is_64)
        given = one.type
        if not isinstance(given, FuncType) or (given.params, given.results) != (
            wanted.params,
            wanted.results,
        ):
            bits = 64 if is_64 else 32
            raise FormatError(
                f"the guest imports {name} with another type: for a memory of {bits} bits it has "
                f"{_names(wanted.params)} -> {_names(wanted.results)}"
            )


def _names(types: object) -> str:
    return str(types).replace("ValType", "")
