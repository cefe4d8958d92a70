"""Every ctest case as a pytest case, from one build."""

import re

import pytest

from support import ROOT, ctest_names, must_run


def declared_cases() -> list[str]:
    """What the lists of tests/ and examples/ declare: a case per *_test.cpp, and by name."""
    suites = [path.stem for path in (ROOT / "tests" / "cpp").glob("*_test.cpp")]
    by_name = re.findall(r"add_test\(NAME (\w+)", (ROOT / "tests/CMakeLists.txt").read_text())
    listed = (ROOT / "examples/cpp/CMakeLists.txt").read_text()
    examples = [f"{name}_example" for name in re.findall(r"^example\((\w+)", listed, re.M)]
    return sorted(suites + by_name + examples)


@pytest.mark.parametrize("name", declared_cases())
def test_suite(name, cpp_build, cmake_tools):
    must_run([cmake_tools["ctest"], "--test-dir", str(cpp_build), "--output-on-failure",
              "--no-tests=error", "-R", f"^{name}$"])  # fmt: skip


def test_no_ctest_case_is_left_out(cpp_build, cmake_tools):
    assert ctest_names(cmake_tools["ctest"], cpp_build) == set(declared_cases())
