"""Write python/realm_ext/text/unicode_classes.py from the tables inside llama.cpp's library.

Needs `llama-cpp-python`:

    python tools/make_unicode_classes.py
"""

from __future__ import annotations

import ctypes
import pathlib
import textwrap

import llama_cpp

OUT = pathlib.Path(__file__).resolve().parent.parent / "python/realm_ext/text/unicode_classes.py"
BITS = {"N": 2, "L": 4, "M": 16, "P": 32, "S": 64}

HEADER = '''r"""Unicode's general categories as llama.cpp has them, for regular expressions.

Made by tools/make_unicode_classes.py. A regex engine has categories of its own, but each version of it
those of another Unicode: `\\p{L}` in `tokenizers` 0.20 lacks 4,970 letters of this table and in 0.23 has
4,302 more. Spelled out, a text has the same ids whatever is installed. Code points are hexadecimal.
"""

from __future__ import annotations

import functools
import re

'''

FOOTER = '''

@functools.cache
def _members(category: str) -> str:
    """What stands for a category inside brackets."""
    ranges = (part.split("-") for part in _RANGES[category].split())
    return "".join("-".join(_literal(int(code, 16)) for code in ends) for ends in ranges)


def _literal(code: int) -> str:
    character = chr(code)
    return character if code >= 0x80 or character.isalnum() else "\\\\" + character


_PARTS = re.compile(r"\\\\p\\{([LMNPS])\\}|\\\\.|[\\[\\]]", re.DOTALL)


def expand_categories(pattern: str) -> str:
    r"""Spell out every \\p{L}, \\p{M}, \\p{N}, \\p{P} and \\p{S} of a regular expression.

    Example:
        >>> expand_categories(r"\\p{N}+")[:5], expand_categories(r"[x\\p{N}]")[:5]
        ('[0-9²', '[x0-9')
    """
    depth = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal depth
        if category := match.group(1):
            return _members(category) if depth else f"[{_members(category)}]"
        depth += {"[": 1, "]": -1}.get(match.group(), 0)
        return match.group()

    return _PARTS.sub(replace, pattern)
'''


def ranges(bit: int, flags: list[int]) -> str:
    out: list[list[int]] = []
    for code, value in enumerate(flags):
        if value & bit:
            if out and out[-1][1] == code - 1:
                out[-1][1] = code
            else:
                out.append([code, code])
    return " ".join(f"{a:X}" if a == b else f"{a:X}-{b:X}" for a, b in out)


def main() -> None:
    """Read the flags of every code point and write the module."""
    folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
    flags_of = ctypes.CDLL(str(folder / "libllama.so"))["_Z26unicode_cpt_flags_from_cptj"]
    flags_of.argtypes, flags_of.restype = [ctypes.c_uint32], ctypes.c_uint16
    flags = [flags_of(code) for code in range(0x110000)]
    lines = ["_RANGES: dict[str, str] = {"]
    for category in sorted(BITS):
        lines.append(f'    "{category}": """')
        lines += textwrap.wrap(ranges(BITS[category], flags), 100, break_on_hyphens=False)
        lines.append('""",')
    lines.append("}")
    OUT.write_text(HEADER + "\n".join(lines) + "\n" + FOOTER, encoding="utf-8")


if __name__ == "__main__":
    main()
