"""Metal's kernels name the address space of every pointer, and stay within Metal's C++.

Lays the shader source out as the build does and gives it to clang as C++14 with address spaces as
part of pointer types (csrc/metal/emulation/metal_stdlib). Clang takes a pointer of the stack that
names no space, and Metal does not, so every `*` and `&` of a declaration or a cast is also looked at
here. With --plant, each `device`, `threadgroup`, `constant` and `thread` is left out in turn, then
put as another, and every one must be missed. --print gives the text, for Metal's own compiler:

    python tools/check_metal_spaces.py --print | xcrun -sdk macosx metal -std=metal3.0 -x metal -c -o /dev/null -
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
QUALIFIED = re.compile(r"\b(device|threadgroup|constant|thread) (?=[^;(){}\[\]]*?[*&])")
# As clang-format sets them: behind a type without a space, where operators have one.
POINTER = re.compile(r"(?<=[\w>])[*&](?=[ )>,])")
OTHER = {"device": "threadgroup", "threadgroup": "device", "constant": "device", "thread": "device"}
CAST = re.compile(r"\(((?:device|threadgroup|constant|thread) [\w:<> ]+\*)\)([\w.]+|\([^()]*\))")
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


def unqualified(text: str) -> str:
    """The first declaration or cast whose pointer or reference names no address space."""
    bare = re.sub(r"//[^\n]*", "", text)
    for m in POINTER.finditer(bare):
        begin = max(bare.rfind(c, 0, m.start()) for c in "(;{}\n,") + 1
        if not re.search(r"\b(device|threadgroup|constant|thread)\b", bare[begin : m.start()]):
            return bare[begin : m.end()].strip()
    return ""


def complaints(clang: str, text: str) -> str:
    """What is wrong with the text; empty if nothing."""
    if pointer := unqualified(text):
        return f"{pointer} has no address space"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.metal"
        # Clang lets a cast of C change the space, and one of C++ does not, as in Metal.
        text = CAST.sub(r"reinterpret_cast<\1>(\2)", text)
        path.write_text(re.sub(r"\[\[[^]]*\]\]", "", text))
        done = subprocess.run([clang, *CLANG, str(path)], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr or "clang failed"


def planted(text: str) -> list[tuple[str, str]]:
    """The text with one qualifier left out, or another in its place, once for each, and which."""
    bare = re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), text)
    found = []
    for m in QUALIFIED.finditer(bare):
        line = bare[bare.rfind("\n", 0, m.start()) + 1 : bare.find("\n", m.start())].strip()
        if line.startswith(("#", "REALM_CONSTANT")):
            continue
        # The spaces of a kernel's parameters are held to their attributes by metal_emulation_test.
        is_parameter = re.match(r"[^,;(){}]*\[\[", bare[m.end() :])
        for other in [""] if is_parameter else ["", OTHER[m[1]]]:
            changed = text[: m.start()] + other + text[m.end() - (1 if other else 0) :]
            found.append((changed, f"{other or 'nothing'} for {m[1]} in: {line}"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clang", default=shutil.which("clang++") or shutil.which("clang"))
    parser.add_argument(
        "--plant", action="store_true", help="also take qualifiers away, one by one"
    )
    parser.add_argument("--print", action="store_true", help="the text, and nothing else")
    options = parser.parse_args()
    if options.print:
        print(source(), end="")
        return 0
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
    print(f"{len(cases) - len(unseen)} of {len(cases)} missing or wrong qualifiers are found")
    print("\n".join(f"not found: {name}" for name in unseen), end="\n" if unseen else "")
    return bool(unseen)


if __name__ == "__main__":
    sys.exit(main())
