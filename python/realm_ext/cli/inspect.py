"""`realm-ext inspect FILE`: what a GGUF file holds, for people or as JSON."""

import argparse
import json
from pathlib import Path

import realm_ext
from realm_ext._summary import Summary, summarize
from realm_ext.cli.command import Commands
from realm_ext.cli.text import human_bytes, human_count, printable, table
from realm_ext.errors import FormatError


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("inspect", help="show what a GGUF file holds")
    parser.add_argument("file", metavar="FILE", help="GGUF file; of a split model, the first part")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")
    parser.add_argument("--metadata", action="store_true", help="list every metadata key")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the summary, and the lists that were asked for."""
    file = _open(arguments.file)
    summary = summarize(file)
    if arguments.json:
        print(json.dumps(_as_json(file, summary, arguments), indent=2))
        return 0
    print(printable(arguments.file, 500))
    print(table(_summary_rows(summary)))
    print("weights")
    print(table(_format_rows(summary)))
    if arguments.metadata:
        print("metadata")
        print(table([(printable(k), _value_text(v)) for k, v in file.metadata.items()]))
    if arguments.tensors:
        print("tensors")
        print(table([_tensor_row(t) for t in file.tensors.values()] or [("none",)]))
    return 0


def _open(path: str) -> realm_ext.GGUFFile:
    try:
        return realm_ext.GGUFFile(path)
    except FormatError:
        if _looks_like_safetensors(path):
            raise FormatError(f"{path} is a safetensors file; inspect reads GGUF") from None
        raise


def _looks_like_safetensors(path: str) -> bool:
    if not Path(path).is_file():
        return False
    with open(path, "rb") as stream:
        start = stream.read(9)
    return start[8:] == b"{" and not start.startswith(b"GGUF")


def _as_json(
    file: realm_ext.GGUFFile, summary: Summary, arguments: argparse.Namespace
) -> dict[str, object]:
    out: dict[str, object] = {"file": arguments.file, **summary.as_dict()}
    if arguments.metadata:
        out["metadata"] = file.metadata
    if arguments.tensors:
        out["tensors"] = [
            {"name": t.name, "shape": t.shape, "dtype": t.dtype, "nbytes": t.nbytes}
            for t in file.tensors.values()
        ]
    return out


def _summary_rows(s: Summary) -> list[tuple[str, str]]:
    rows = [
        ("kind", s.kind),
        ("architecture", printable(s.architecture or "not given")),
        ("name", printable(s.name) if s.name else ""),
        ("file", f"GGUF version {s.version}, {human_bytes(s.file_bytes)}, {s.n_keys} keys, "
                 f"{s.n_tensors} tensors, alignment {s.alignment}"),
        ("parameters", human_count(s.n_parameters)),
        ("sizes", ", ".join(f"{name} {value}" for name, value in s.sizes.items())),
        ("context", f"{s.context_length} tokens" if s.context_length else ""),
        ("tokenizer", _tokenizer_text(s)),
        ("chat template", "yes" if s.has_chat_template else "no"),
        ("memory", _memory_text(s)),
    ]  # fmt: skip
    return [row for row in rows if row[1]]


def _tokenizer_text(s: Summary) -> str:
    if s.tokenizer is None:
        return "none"
    pre = f", pre-tokenizer {printable(s.pre_tokenizer)}" if s.pre_tokenizer else ""
    return f"{printable(s.tokenizer)}, {s.n_vocab} tokens{pre}"


def _memory_text(s: Summary) -> str:
    weights = f"{human_bytes(s.weight_bytes)} weights"
    if not s.kv_bytes or not s.context_length:
        return weights
    total = human_bytes(s.weight_bytes + s.kv_bytes)
    return f"{total}: {weights}, {human_bytes(s.kv_bytes)} f16 KV for the full context"


def _format_rows(s: Summary) -> list[tuple[str, str, str]]:
    rows = [
        (f.name, f"{f.n_tensors} tensor{'s' * (f.n_tensors != 1)}", human_bytes(f.n_bytes))
        for f in s.formats
    ]
    return rows or [("none", "", "")]


def _tensor_row(tensor: realm_ext.TensorInfo) -> tuple[str, str, str, str]:
    shape = " x ".join(str(extent) for extent in tensor.shape)
    return printable(tensor.name, 127), tensor.dtype, shape, human_bytes(tensor.nbytes)


def _value_text(value: object) -> str:
    if isinstance(value, list):
        items = ", ".join(_value_text(v) for v in value[:6])
        return f"[{items}{', ...' if len(value) > 6 else ''}] ({len(value)})"
    return printable(value) if isinstance(value, str) else str(value)
