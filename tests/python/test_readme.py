"""Every code block of the README runs, its first two, which install and test, in .ci/run; and every
Python block of the documents."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import realm_ext
from support import ROOT, build_outside_project, wheel_cmake_folder


def blocks_of(path):
    """The fenced blocks of a document, as (language, text)."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text(), re.M | re.S)


BLOCKS = blocks_of(ROOT / "README.md")
DOCUMENTED = [
    pytest.param(text, id=f"{path.stem}-{i}")
    for path in sorted((ROOT / "docs").rglob("*.md"))
    for i, (language, text) in enumerate(blocks_of(path))
    if language == "python"
]


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


def run_in(folder, *command):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_two_commands_are_the_promised_ones():
    assert blocks("sh")[:2] == [
        "pip install . && realm-ext demo\n",
        "pip install '.[test]' && pytest\n",
    ]


def test_every_block_has_a_test_here():
    assert {language for language, _ in BLOCKS} == {"sh", "python", "cmake", "cpp"}


@pytest.mark.parametrize("block", blocks("sh")[2:])
def test_shell_blocks_run(block, tmp_path):
    assert run_in(tmp_path, "bash", "-euc", block)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_blocks_run(block, tmp_path):
    assert run_in(tmp_path, sys.executable, "-c", block)


@pytest.mark.parametrize("block", DOCUMENTED)
def test_python_blocks_of_documents_run(block, tmp_path):
    assert run_in(tmp_path, sys.executable, "-c", block) is not None


def test_the_cpp_project_builds_and_runs(tmp_path, cmake_tools):
    (tmp_path / "CMakeLists.txt").write_text(*blocks("cmake"))
    (tmp_path / "main.cpp").write_text(*blocks("cpp"))
    build = build_outside_project(cmake_tools, tmp_path, tmp_path / "build", wheel_cmake_folder())
    out = run_in(tmp_path, build / "hello", realm_ext.demo_path("target.gguf"))
    assert out.startswith("The capital of France is Paris")


def test_the_programs_of_the_page_on_embedding_build_and_run(tmp_path, cmake_tools):
    for language, text in blocks_of(ROOT / "docs" / "embedding.md"):
        named = re.match(r"/[/*] (\w+\.\w+):", text)
        (tmp_path / (named[1] if named else "CMakeLists.txt")).write_text(text)
        assert named or language == "cmake"
    build = build_outside_project(cmake_tools, tmp_path, tmp_path / "build", wheel_cmake_folder())
    model = realm_ext.demo_path("target.gguf")
    assert re.match(r" Paris\..*\n16 tokens\n", run_in(tmp_path, build / "answer", model), re.S)
    spain, japan = run_in(tmp_path, build / "serve", model).split("\n")[:2]
    assert spain.startswith(" Madrid")
    assert japan.startswith(" Tokyo")
    assert run_in(tmp_path, build / "layers", model) == "next: P\nthe same bits\n"
