"""Places and helpers that several test files share."""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden"


def must_run(command: list[str], **options: object) -> str:
    """Output of a command; what it said is the failure's text if it fails."""
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    assert done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout[-8000:]}"
    return done.stdout


def ctest_names(ctest: str, folder: Path) -> set[str]:
    listing = must_run([ctest, "--test-dir", str(folder), "--show-only=json-v1"])
    return {test["name"] for test in json.loads(listing)["tests"]}


def golden_models() -> list[Path]:
    """The models that other programs made: one per architecture and per weight format."""
    return sorted(p for folder in ("arch", "quant") for p in (GOLDEN / folder).rglob("*.gguf"))
