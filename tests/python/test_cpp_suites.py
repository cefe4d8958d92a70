"""Every ctest case as a pytest case, from one build."""

import re

import pytest

from support import ROOT, ctest_names, must_run


def declared_cases() -> list[str]:
    """What the lists of tests/ and examples/ declare: a case per *_test.cpp, and literal names."""
    lists = [ROOT / folder / "CMakeLists.txt" for folder in ("tests", "examples")]
    literal = re.findall(r"add_test\(NAME (\w+)", "".join(path.read_text() for path in lists))
    return sorted([path.stem for path in (ROOT / "tests" / "cpp").glob("*_test.cpp")] + literal)


@pytest.mark.parametrize("name", declared_cases())
def test_suite(name, cpp_build, cmake_tools):
    must_run([cmake_tools["ctest"], "--test-dir", str(cpp_build), "--output-on-failure",
              "--no-tests=error", "-R", f"^{name}$"])  # fmt: skip


def test_no_ctest_case_is_left_out(cpp_build, cmake_tools):
    assert ctest_names(cmake_tools["ctest"], cpp_build) == set(declared_cases())
