"""An LLM inference engine that lives inside your process."""

from importlib import import_module
from typing import TYPE_CHECKING

from realm_ext._core import (
    AdapterReport,
    Device,
    EngineStats,
    Format,
    GGUFFile,
    LoadedAdapter,
    MergeReport,
    ModelConfig,
    ModelSpec,
    Quota,
    RequantizedTensor,
    RequantizeReport,
    SamplingParams,
    SpeculationReport,
    SpeculativeConfig,
    TenantStats,
    TensorInfo,
    Vocabulary,
    build_info,
    dequantize,
    devices,
    formats,
    quantize,
    quantize_gguf,
    quantize_mixes,
    write_gguf,
)
from realm_ext._demo import demo_path
from realm_ext._doctor import doctor
from realm_ext.errors import (
    AdapterError,
    DeviceError,
    ExtraMissingError,
    FileMissingError,
    FormatError,
    InvalidRequest,
    IoError,
    OutOfMemoryError,
    ProcessForkedError,
    QuotaExceeded,
    RealmError,
    RequestCancelled,
)

if TYPE_CHECKING:
    from realm_ext.adapters import merge_adapter
    from realm_ext.completion import Chunk, Completion, Timings, TokenLogprob, Usage
    from realm_ext.engine import Engine
    from realm_ext.layers import LayerSession
    from realm_ext.model import Model
    from realm_ext.request import Request
    from realm_ext.runtime import Runtime
    from realm_ext.session import InferenceSession
    from realm_ext.tenant import Tenant
    from realm_ext.text import Tokenizer

# Imported when first used, so that `import realm_ext` is quick and starts no thread: numpy does both.
_LATER = {
    "Chunk": "realm_ext.completion",
    "Completion": "realm_ext.completion",
    "Engine": "realm_ext.engine",
    "InferenceSession": "realm_ext.session",
    "LayerSession": "realm_ext.layers",
    "Model": "realm_ext.model",
    "Request": "realm_ext.request",
    "Runtime": "realm_ext.runtime",
    "Tenant": "realm_ext.tenant",
    "Timings": "realm_ext.completion",
    "TokenLogprob": "realm_ext.completion",
    "Tokenizer": "realm_ext.text",
    "Usage": "realm_ext.completion",
    "merge_adapter": "realm_ext.adapters",
}

__version__: str = build_info().version

__all__ = [
    "AdapterError",
    "AdapterReport",
    "Chunk",
    "Completion",
    "Device",
    "DeviceError",
    "Engine",
    "EngineStats",
    "ExtraMissingError",
    "FileMissingError",
    "Format",
    "FormatError",
    "GGUFFile",
    "InferenceSession",
    "InvalidRequest",
    "IoError",
    "LayerSession",
    "LoadedAdapter",
    "MergeReport",
    "Model",
    "ModelConfig",
    "ModelSpec",
    "OutOfMemoryError",
    "ProcessForkedError",
    "Quota",
    "QuotaExceeded",
    "RealmError",
    "RequantizeReport",
    "RequantizedTensor",
    "Request",
    "RequestCancelled",
    "Runtime",
    "SamplingParams",
    "SpeculationReport",
    "SpeculativeConfig",
    "Tenant",
    "TenantStats",
    "TensorInfo",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "Usage",
    "Vocabulary",
    "__version__",
    "demo_path",
    "dequantize",
    "devices",
    "doctor",
    "formats",
    "merge_adapter",
    "quantize",
    "quantize_gguf",
    "quantize_mixes",
    "write_gguf",
]


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
