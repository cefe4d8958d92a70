"""The `realm-ext` command: one module per subcommand, each with `add_parser` and `run`.

A subcommand's `run` returns an exit status and lets errors rise; `main` turns them into one line
on stderr. Status 0: done; 1: failed; 2: wrong usage; 130: interrupted; 141: the reader of our
output went away.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from realm_ext import __version__, _core
from realm_ext._demo import demo_path
from realm_ext.cli import bench, chat, demo, doctor, generate, inspect, merge, quantize
from realm_ext.cli.text import printable
from realm_ext.errors import InvalidRequest, RealmError

_COMMANDS = (demo, generate, chat, inspect, merge, quantize, bench, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments after the program's name; by default those of the process.

    Returns:
        The exit status.

    Example:
        >>> from realm_ext.cli import main
        >>> main(["doctor"])  # doctest: +ELLIPSIS
        realm_ext ...
        0
    """
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("realm-ext: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (RealmError, OSError, MemoryError) as error:
        print(f"realm-ext: error: {_one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, InvalidRequest) else 1


def _one_line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(text or type(error).__name__, limit=2000)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="realm-ext", description="Run, inspect and convert GGUF language models."
    )
    parser.add_argument("--version", action="version", version=f"realm-ext {__version__}")
    beside_extension = Path(_core.__file__).parent  # also in an editable install
    for flag, folder, what in (
        ("--cmake-dir", beside_extension / "lib/cmake/realm", "for find_package(realm)"),
        ("--include-dir", beside_extension / "include", "with realm/realm.h"),
        ("--demo-dir", demo_path(), "with the demo models"),
    ):
        parser.add_argument(
            flag, action=_PrintPath, path=folder, help=f"print the folder {what} and exit"
        )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


class _PrintPath(argparse.Action):
    """Prints a path and exits, as --version does."""

    def __init__(self, option_strings: list[str], dest: str, path: Path, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)
        self._path = path

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(self._path)
        parser.exit()
