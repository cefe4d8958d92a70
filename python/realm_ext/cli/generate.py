"""`realm-ext generate`: continues a text, as it is computed."""

import argparse
import sys

import realm_ext
from realm_ext.cli import generation
from realm_ext.cli.command import Commands


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("generate", help="continue a text")
    parser.add_argument("prompt", help="the text to continue; - reads it from stdin")
    generation.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the continuation to stdout; how fast it was, to a person, on stderr."""
    params = generation.params_of(arguments)
    prompt = sys.stdin.read().rstrip("\n") if arguments.prompt == "-" else arguments.prompt
    with generation.load_model(arguments, arguments.adapter) as model:
        session = realm_ext.InferenceSession(
            model, params, kv_dtype=arguments.kv_dtype, adapter=generation.adapter_of(arguments)
        )
        session.prefill(prompt)
        meter = generation.Meter(session)
        for piece in session.stream():
            generation.write(piece)
        print()
        generation.note(f"{meter.report()}, seed {session.seed}")
    return 0
