"""Places and helpers that several test files share."""

import json
import os
import subprocess
import sys
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


def wheel_cmake_folder() -> str:
    """Where find_package() finds the library of the installed package."""
    return must_run([sys.executable, "-m", "realm_ext", "--cmake-dir"]).strip()


def build_outside_project(
    tools: dict[str, str], source: Path, build: Path, package_folder: str
) -> Path:
    """Configures and builds a CMake project that links the library; the folder of its programs."""
    must_run(
        [
            tools["cmake"], "-S", str(source), "-B", str(build), "-G", "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}", f"-Drealm_DIR={package_folder}",
        ]
    )  # fmt: skip
    must_run([tools["cmake"], "--build", str(build)])
    return build


def run_python(code: str, **environment: str) -> str:
    """Output of a fresh interpreter, whose first argument is a small model; fails with what it said."""
    small = GOLDEN / "arch" / "llama" / "model-f32.gguf"
    done = subprocess.run(
        [sys.executable, "-c", code, str(small)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ctest_names(ctest: str, folder: Path) -> set[str]:
    listing = must_run([ctest, "--test-dir", str(folder), "--show-only=json-v1"])
    return {test["name"] for test in json.loads(listing)["tests"]}


def golden_models() -> list[Path]:
    """The models that other programs made: one per architecture and per weight format."""
    return sorted(p for folder in ("arch", "quant") for p in (GOLDEN / folder).rglob("*.gguf"))
