"""The direction law: a folder of csrc/ includes itself and strictly lower ranks, nothing else.

Siblings never see each other, and nobody sees a backend's folder. Prints each offence.
"""

import re
import sys
from pathlib import Path

LADDER = """include < base < tensor < quant < gguf < backend < gpu < cpu cuda metal kv lora
            < model < engine < runtime < capi bindings"""
RANKS = {name: rank for rank, names in enumerate(LADDER.split("<")) for name in names.split()}
UNSEEN = {"cpu", "cuda", "metal"}
KEPT_FOR = {"gpu": {"cuda", "metal"}}  # what backends share among themselves
SUFFIXES = {".h", ".hpp", ".cpp", ".c", ".cu", ".cuh", ".inc", ".mm", ".metal"}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def allowed(folder: str, target: str) -> bool:
    """Whether files of `folder` may include `target`, as written between the quotes."""
    seen = "include" if target.startswith("realm/") else target.split("/")[0]
    if seen == folder:
        return True
    if seen in KEPT_FOR and folder not in KEPT_FOR[seen]:
        return False
    return seen in RANKS and seen not in UNSEEN and RANKS[seen] < RANKS[folder]


def offences(csrc: Path) -> list[str]:
    """One line per forbidden include, and per folder that has no rank."""
    found = []
    for file in sorted(p for p in csrc.rglob("*") if p.suffix in SUFFIXES):
        folder = file.relative_to(csrc).parts[0]
        if folder not in RANKS:
            found.append(f"{file}: folder {folder} has no rank")
            continue
        for target in INCLUDE.findall(file.read_text()):
            if not allowed(folder, target):
                found.append(f'{file}: {folder} must not include "{target}"')
    return found


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "csrc"
    lines = offences(root)
    print("\n".join(lines), end="\n" if lines else "")
    sys.exit(1 if lines else 0)
