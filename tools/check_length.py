"""Files of code stay under 500 lines: prints each that does not."""

import subprocess
import sys
from pathlib import Path

LIMIT = 500
CODE = (".h", ".hpp", ".c", ".cpp", ".cu", ".cuh", ".inc", ".mm", ".metal", ".py", ".cmake")


def main() -> int:
    root = Path(__file__).parent.parent
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    status = 0
    for name in filter(lambda name: name.endswith(CODE), listing.split("\0")):
        n_lines = len((root / name).read_bytes().splitlines())
        if n_lines > LIMIT:
            print(f"{name}: {n_lines} lines, more than {LIMIT}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
