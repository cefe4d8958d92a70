"""`realm-ext quantize IN OUT TYPE`: write a model again with its weights in another format."""

import argparse
from pathlib import Path

import realm_ext
from realm_ext.cli.command import Commands
from realm_ext.cli.progress import ProgressBar
from realm_ext.cli.rewritten import formats, largest_error
from realm_ext.cli.text import human_bytes, printable
from realm_ext.errors import InvalidRequest


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "quantize",
        help="write a model with its weights in another format",
        epilog=f"TYPE is one of: {', '.join(realm_ext.quantize_mixes())}.",
    )
    parser.add_argument("input", metavar="IN", help="GGUF file; of a split model, the first part")
    parser.add_argument("output", metavar="OUT", help="GGUF file to write; replaced if it exists")
    parser.add_argument("target", metavar="TYPE", help="a mix or a format, such as Q4_K_M or Q8_0")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all usable processors")
    parser.add_argument("--pure", action="store_true", help="every matrix in the same format")
    parser.add_argument(
        "--allow-requantize",
        action="store_true",
        help="accept weights that are quantized already",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Quantize and print what it cost."""
    output = Path(arguments.output)
    if output.exists() and output.samefile(arguments.input):
        raise InvalidRequest("OUT is IN: the original would be lost")
    with ProgressBar("quantize") as bar:
        report = realm_ext.quantize_gguf(
            arguments.input,
            arguments.output,
            arguments.target,
            pure=arguments.pure,
            allow_requantize=arguments.allow_requantize,
            threads=arguments.threads,
            progress=bar.update,
        )
    print(f"{printable(arguments.output, 200)}: {describe(report)}")
    return 0


def describe(report: realm_ext.RequantizeReport) -> str:
    """Sizes, formats, and the tensor that lost most."""
    sizes = f"{human_bytes(report.bytes_in)} -> {human_bytes(report.bytes_out)}"
    error = largest_error(report.tensors) or "no value changed"
    return f"{sizes} ({formats(report.tensors)}), {error}"
