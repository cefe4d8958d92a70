"""Builds everything that gpu.py measures, in one folder: extension, suites, kernels' program."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "gpu"
# What a suite names that is for the emulated device alone; tests/CMakeLists.txt leaves the same out.
EMULATED = re.compile(r'#include "(cuda/emulation/|cpp/fake_cublaslt)')


def suites(device: str) -> list[str]:
    """The C++ suites that run on the device itself, single instructions first."""
    if device != "cuda":
        return []
    found = sorted((ROOT / "tests" / "cpp").glob("cuda_*_test.cpp"))
    names = [path.stem for path in found if not EMULATED.search(path.read_text())]
    return sorted(names, key=lambda name: name != "cuda_wrappers_test")


def architecture() -> str:
    """Of the card that is here, for CMake."""
    asked = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        require_driver()
        return "native"
    number = found.split()[0].replace(".", "")
    return f"{number}a-real" if number == "90" else f"{number}-real"


def require_driver() -> None:
    """Ends where no driver can say what the card is: the compiler would take one that is too old."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        sys.exit(
            "no card is here; --arch 90a-real builds for one all the same, --emulated does without"
        )


def find_tools() -> None:
    """Lets programs find what this Python's packages have (cmake, ninja) and a toolkit in its usual place."""
    places = [Path(sys.prefix) / "bin"]
    places += [
        Path(home) / "bin" for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if home
    ]
    found = [str(place) for place in places if place.is_dir()]
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *found])


OPENS = """
import ctypes, sys
handle = ctypes.c_void_p()
sys.exit(ctypes.CDLL(sys.argv[1]).cublasLtCreate(ctypes.byref(handle)))
"""


def opens(library: str) -> bool:
    """Whether a cuBLASLt of that name or path works with the driver that is here."""
    return (
        subprocess.run([sys.executable, "-c", OPENS, library], capture_output=True).returncode == 0
    )


def dense_library() -> str | None:
    """A cuBLASLt of Python packages, the newest; None if programs find one by its name, or none works."""
    if any(map(opens, ("libcublasLt.so.13", "libcublasLt.so.12"))):
        return None
    found = {
        path for folder in sys.path for path in Path(folder).glob("nvidia/*/lib/libcublasLt.so.1?")
    }
    newest_first = sorted(map(str, found), key=lambda path: path[-2:], reverse=True)
    return next(filter(opens, newest_first), None)


def configure(device: str, emulated: bool, arch: str | None, pybind11_dir: str) -> list[str]:
    """CMake's arguments."""
    flags = {
        "CMAKE_BUILD_TYPE": "Release",
        "REALM_BUILD_PYTHON": "ON",
        "REALM_BUILD_BENCHMARKS": "ON",
        "REALM_BUILD_TESTS": "OFF" if emulated or device != "cuda" else "ON",
        "REALM_CUDA": "OFF",
        "REALM_METAL": "OFF",
        "Python_EXECUTABLE": sys.executable,
        "PYTHON_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11_dir,
    }
    if device in ("cuda", "metal"):
        flags[f"REALM_{device.upper()}"] = "EMULATED" if emulated else "ON"
    if device == "cuda" and not emulated:
        flags["CMAKE_CUDA_ARCHITECTURES"] = arch or architecture()
    return ["-G", "Ninja", *(f"-D{name}={value}" for name, value in flags.items())]


def require_tools() -> None:
    """Ends with the names of what a build has to have and this Python has not."""
    lacking = [name for name in ("cmake", "ninja") if not shutil.which(name)]
    lacking += [name for name in ("pybind11",) if importlib.util.find_spec(name) is None]
    if lacking:
        sys.exit(
            f"to build, there must be {', '.join(lacking)}; docs/gpu_log.md has all that is needed"
        )


def build(device: str, emulated: bool, arch: str | None = None, jobs: int | None = None) -> float:
    """Minutes that it took; raises CalledProcessError with what went wrong on the terminal."""
    require_tools()
    import pybind11

    began = time.perf_counter()
    options = configure(device, emulated, arch, pybind11.get_cmake_dir())
    command = ["cmake", "-S", str(ROOT), "-B", str(FOLDER), *options]
    subprocess.run(command, check=True)
    targets = ["_core", "gpu_kernels", *([] if emulated else suites(device))]
    jobs = jobs or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 8
    subprocess.run(
        ["cmake", "--build", str(FOLDER), "-j", str(jobs), "--target", *targets], check=True
    )
    return (time.perf_counter() - began) / 60


def is_built() -> bool:
    return extension() is not None and kernels_program().exists()


def extension() -> Path | None:
    return next(FOLDER.glob("csrc/bindings/_core*"), None)


def kernels_program() -> Path:
    return FOLDER / "benchmarks" / "gpu_kernels"


def package() -> Path:
    """A folder for the path of Python: the package with the extension that was built."""
    folder = FOLDER / "python"
    shutil.copytree(
        ROOT / "python" / "realm_ext",
        folder / "realm_ext",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("_core*.so", "__pycache__"),
    )
    built = extension()
    if built is None:
        raise FileNotFoundError(f"there is no extension in {FOLDER}; --stage build makes it")
    # Programs that have the one before mapped keep it.
    fresh = folder / f"{built.name}.{os.getpid()}"
    shutil.copy2(built, fresh)
    fresh.replace(folder / "realm_ext" / built.name)
    return folder
