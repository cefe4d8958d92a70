"""Write python/realm_ext/_core.pyi from the installed extension, or check that it is up to date.

    python tools/make_stubs.py
    python tools/make_stubs.py --check

Needs pybind11-stubgen, ruff and an installed realm_ext of this tree.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STUB = Path(__file__).parent.parent / "python" / "realm_ext" / "_core.pyi"
HEADER = "# Written by tools/make_stubs.py from the compiled extension; do not edit.\n"


def generate() -> str:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pybind11_stubgen", "realm_ext._core", "-o", folder]
        subprocess.run([*command, "--numpy-array-use-type-var", "--exit-code"], check=True)
        text = (Path(folder) / "realm_ext" / "_core.pyi").read_text()
    return formatted(HEADER + finished(text))


def finished(text: str) -> str:
    """Mends what the generator leaves vague, and what depends on the Python that ran it."""
    lines = [signature(line) if re.match(r"\s*def ", line) else line for line in text.splitlines()]
    text = "\n".join(lines) + "\n"
    text = re.sub(r"^__all__: list\[str\] = \[(.*)\]$", r"__all__ = [\1]", text, flags=re.M)
    text = re.sub(r"(__hash__: .* = None)$", r"\1  # type: ignore[assignment]", text, flags=re.M)
    modules = ("builtins", "collections.abc", "typing_extensions")
    wanted = [f"import {m}" for m in modules if f"{m}." in text and f"import {m}\n" not in text]
    first = "from __future__ import annotations\n"
    return text.replace(first, "\n".join([first.rstrip(), *wanted]) + "\n", 1)


def signature(line: str) -> str:
    """Makes one `def` line strict: no bare generics, no name that a method may hide."""
    line = line.replace("collections.abc.Buffer", "typing_extensions.Buffer")
    line = re.sub(r"\bos\.PathLike\b(?!\[)", "os.PathLike[str]", line)
    line = re.sub(r"(?<![\w.])dict(?![\w\[]|: )", "dict[str, typing.Any]", line)
    line = re.sub(r"(?<![\w.])list(?![\w\[]|: )", "list[typing.Any]", line)
    line = re.sub(r"\*\*kwargs(?=[,)])", "**kwargs: typing.Any", line)
    line = re.sub(r"(?<=> )bytes(?=:)", "builtins.bytes", line)
    line = re.sub(r"\b(__eq__|__ne__)\(self, arg0: [^)]*\)", r"\1(self, arg0: object)", line)
    return re.sub(r"__deepcopy__\(self, (\w+)\)", r"__deepcopy__(self, \1: typing.Any)", line)


def formatted(text: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "_core.pyi", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if the stub is out of date")
    check = parser.parse_args().check
    text = generate()
    if not check:
        STUB.write_text(text)
    elif STUB.read_text() != text:
        print(f"{STUB.name} is out of date: run python tools/make_stubs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
