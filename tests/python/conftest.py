"""Fixtures that several test files share."""

import os
import signal
from pathlib import Path

import pytest

from support import ROOT, must_run

# A runner that was started in the background ignores Ctrl-C, and so would every program under test.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cmake_tools() -> dict[str, str]:
    """cmake, ctest and ninja of the test extra, wherever PATH points."""
    import cmake
    import ninja

    bin_folder = Path(cmake.CMAKE_BIN_DIR)
    return {
        "cmake": str(bin_folder / "cmake"),
        "ctest": str(bin_folder / "ctest"),
        "ninja": str(Path(ninja.BIN_DIR) / "ninja"),
    }


@pytest.fixture(scope="session")
def cpp_build(cmake_tools: dict[str, str]) -> Path:
    """The C++ suites, built once per session; REALM_TEST_BUILD names another folder."""
    folder = Path(os.environ.get("REALM_TEST_BUILD", ROOT / "build" / "dev"))
    jobs = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
    configure = [cmake_tools["cmake"], "--preset", "dev", "-B", str(folder)]
    must_run([*configure, f"-DCMAKE_MAKE_PROGRAM={cmake_tools['ninja']}"])
    must_run([cmake_tools["cmake"], "--build", str(folder), "-j", jobs])
    return folder
