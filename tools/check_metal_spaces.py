"""Metal's kernels name the address space of every pointer, and stay within Metal's C++.

Lays the shader source out as the build does and gives it to clang as C++14 with address spaces as
part of pointer types (csrc/metal/emulation/metal_stdlib). With --plant, each `device`, `threadgroup`
and `constant` of a pointer is taken away in turn, and every one must be missed: by clang, or by the
rules that tests/cpp/metal_emulation_test.cpp holds kernels to, which this repeats for parameters.
"""

import argparse
import concurrent.futures
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
CSRC = ROOT / "csrc"
QUALIFIED = re.compile(r"\b(device|threadgroup|constant) (?=[^;(){}\[\]]*?[*&])")
UNQUALIFIED = re.compile(
    r"[(,]\s*(?!\s|device |threadgroup |constant |thread )[\w:<> ]+[*&] ?\w+ \[\[(buffer|threadgroup)"
)
CAST = re.compile(r"\((?:const )?[\w:]+ ?[*&]\)")  # which clang takes, and Metal does not
CLANG = [
    "-x", "c++", "-std=c++14", "-pedantic", "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
    "-Wno-unused-const-variable", "-Wno-undefined-internal", "-DREALM_ADDRESS_SPACES",
    "-D__METAL_VERSION__=300", f"-I{CSRC}", f"-I{CSRC}/metal/emulation",
]  # fmt: skip


def source() -> str:
    """The shader source as csrc/metal/embed_source.cmake joins it, attributes and all."""
    listed = re.search(
        r"set\(realm_metal_shaders([^)]*)\)", (CSRC / "metal/sources.cmake").read_text()
    )
    assert listed, "csrc/metal/sources.cmake names no shaders"
    text = ""
    for name in listed[1].split():
        one = (CSRC / name).read_text().replace("#pragma once", "")
        text += f'#line 1 "{name}"\n' + re.sub(r'#include "[^"]*"', "", one)
    return text


def complaints(clang: str, text: str) -> str:
    """What is wrong with the text; empty if nothing."""
    if UNQUALIFIED.search(text):
        return "a kernel's pointer has no address space"
    if cast := CAST.search(text):
        return f"{cast[0]} has no address space"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.metal"
        path.write_text(re.sub(r"\[\[[^]]*\]\]", "", text))
        done = subprocess.run([clang, *CLANG, str(path)], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr or "clang failed"


def planted(text: str) -> list[tuple[str, str]]:
    """The text with one qualifier less, once for each, and which it was."""
    bare = re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), text)
    found = []
    for m in QUALIFIED.finditer(bare):
        line = bare[bare.rfind("\n", 0, m.start()) + 1 : bare.find("\n", m.start())].strip()
        if line.startswith(("#", "REALM_CONSTANT")):
            continue
        found.append((text[: m.start()] + text[m.end() :], f"{m[1]} in: {line}"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clang", default=shutil.which("clang++") or shutil.which("clang"))
    parser.add_argument(
        "--plant", action="store_true", help="also take qualifiers away, one by one"
    )
    options = parser.parse_args()
    if not options.clang:
        print("there is no clang (apt-get install clang)")
        return 2
    text = source()
    wrong = complaints(options.clang, text)
    print(wrong or f"{len(text.splitlines())} lines of shaders name every address space")
    if wrong or not options.plant:
        return bool(wrong)
    cases = planted(text)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda case: complaints(options.clang, case[0]), cases))
    unseen = [name for (_, name), said in zip(cases, told, strict=True) if not said]
    print(f"{len(cases) - len(unseen)} of {len(cases)} missing qualifiers are found")
    print("\n".join(f"not found: {name}" for name in unseen), end="\n" if unseen else "")
    return bool(unseen)


if __name__ == "__main__":
    sys.exit(main())
