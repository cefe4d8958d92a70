"""`realm-ext merge BASE ADAPTER OUT`: write a model again with an adapter in its weights."""

import argparse
from pathlib import Path

import realm_ext
from realm_ext.cli.command import Commands
from realm_ext.cli.progress import ProgressBar
from realm_ext.cli.rewritten import formats, largest_error
from realm_ext.cli.text import printable
from realm_ext.errors import InvalidRequest


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("merge", help="write a model with an adapter in its weights")
    parser.add_argument("base", metavar="BASE", help="GGUF file; of a split model, the first part")
    parser.add_argument(
        "adapter", metavar="ADAPTER", help="PEFT directory, safetensors file or GGUF adapter"
    )
    parser.add_argument("output", metavar="OUT", help="GGUF file to write; replaced if it exists")
    parser.add_argument(
        "--type", metavar="TYPE", help="format of the tensors that change [each its own]"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="times the adapter's own [1.0]")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all usable processors")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Merge and print what it cost."""
    output = Path(arguments.output)
    if output.exists() and output.samefile(arguments.base):
        raise InvalidRequest("OUT is BASE: the original would be lost")
    with ProgressBar("merge") as bar:
        report = realm_ext.merge_adapter(
            arguments.base,
            (arguments.adapter, arguments.scale),
            arguments.output,
            arguments.type,
            threads=arguments.threads,
            progress=bar.update,
        )
    print(f"{printable(arguments.output, 200)}: {describe(report)}")
    return 0


def describe(report: realm_ext.MergeReport) -> str:
    """How many tensors changed, to which formats, and the one that lost most."""
    merged = f"{len(report.tensors)} tensors merged ({formats(report.tensors)})"
    error = largest_error(report.tensors) or "no value rounded"
    return f"{merged}, {report.n_copied} copied, {error}"
