"""`realm-ext doctor`: what this installation is and what it found."""

import argparse

import realm_ext
from realm_ext.cli.command import Commands


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("doctor", help="show the build, the CPU level and the backends")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print realm_ext.doctor()."""
    print(realm_ext.doctor())
    return 0
