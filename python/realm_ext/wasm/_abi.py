"""The functions that a host gives a guest: names, parameters, statuses. docs/wasm.md explains them."""

from __future__ import annotations

from wasmtime import FuncType, ValType

from realm_ext.errors import (
    AdapterError,
    DeviceError,
    FormatError,
    InvalidRequest,
    IoError,
    OutOfMemoryError,
    ProcessForkedError,
    QuotaExceeded,
    RealmError,
    RequestCancelled,
)

ABI_VERSION = 1

MODULE = "realm"

OK = 0

# "p" is an address, a length or a count, as wide as the addresses of the guest's memory; "i" is
# 32 bits always. Every function returns 32 bits: what it is asked for, or a negative status.
FUNCTIONS = {
    "realm_abi_version": "",
    "realm_last_error": "ppp",
    "realm_model_info": "pp",
    "realm_encode_tokens": "ppippp",
    "realm_decode_tokens": "ppppp",
    "realm_token_ends": "i",
    "realm_set_lora_adapter": "ipp",
    "realm_store_draft_model": "ppi",
    "realm_generate": "ppippppp",
    "realm_session_open": "p",
    "realm_session_length": "",
    "realm_session_truncate": "p",
    "realm_embed_tokens": "ppp",
    "realm_forward_layer": "ipp",
    "realm_compute_logits": "ppp",
}

# The statuses of the C interface, realm/error_code.h.
_STATUSES = {
    InvalidRequest: -2,
    FormatError: -3,
    IoError: -4,
    OutOfMemoryError: -5,
    AdapterError: -6,
    QuotaExceeded: -7,
    DeviceError: -8,
    RequestCancelled: -9,
    ProcessForkedError: -10,
}


def status_of(error: RealmError) -> int:
    """The status that stands for an error."""
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            return status
    return -1


def type_of(parameters: str, is_64: bool) -> FuncType:
    """The type of a function with these parameters, for a guest of this width."""
    kinds = {"p": ValType.i64() if is_64 else ValType.i32(), "i": ValType.i32()}
    return FuncType([kinds[one] for one in parameters], [ValType.i32()])
