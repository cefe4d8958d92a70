"""Guests for tests: what every one imports, and ways to be hostile."""

from support import ROOT

EXAMPLES = ROOT / "examples" / "wasm"

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


def example(name):
    return (EXAMPLES / name).read_text()


def caller(bits=32, pages=16):
    """A guest that hands every function of the host on to its caller, with the same parameters."""
    wide = f"i{bits}"
    lines = []
    for name, parameters in FUNCTIONS.items():
        types = " ".join(wide if one == "p" else "i32" for one in parameters)
        signature = (f"(param {types}) " if types else "") + "(result i32)"
        lines.append(f'(import "realm" "{name}" (func ${name} {signature}))')
    for name, parameters in FUNCTIONS.items():
        types = [wide if one == "p" else "i32" for one in parameters]
        declared = " ".join(f"(param $p{i} {kind})" for i, kind in enumerate(types))
        given = " ".join(f"(local.get $p{i})" for i in range(len(types)))
        short = name.removeprefix("realm_")
        lines.append(f'(func (export "{short}") {declared} (result i32) (call ${name} {given}))')
    index = " i64" if bits == 64 else ""
    return "(module " + "\n".join(lines) + f'(memory (export "memory"){index} {pages}))'


def module(body, imports=()):
    """A 32-bit guest with one page of memory; `imports` are names of the host's functions."""
    lines = []
    for name in imports:
        types = " ".join("i32" for _ in FUNCTIONS[name])
        signature = (f"(param {types}) " if types else "") + "(result i32)"
        lines.append(f'(import "realm" "{name}" (func ${name} {signature}))')
    return "(module " + " ".join(lines) + f' (memory (export "memory") 1) {body})'
