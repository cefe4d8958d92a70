"""The direction law holds, and the script that says so can say otherwise."""

import runpy
import subprocess
import sys

import pytest

from support import ROOT

SCRIPT = ROOT / "tools" / "check_direction.py"
allowed = runpy.run_path(str(SCRIPT))["allowed"]


def test_the_tree_keeps_the_direction_law():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("folder", "target"),
    [
        ("base", "realm/realm.h"),
        ("gguf", "gguf/a.h"),
        ("gguf", "base/a.h"),
        ("capi", "runtime/a.h"),
        ("metal", "gpu/a.h"),
    ],
)
def test_downward_includes_are_allowed(folder, target):
    assert allowed(folder, target)


@pytest.mark.parametrize(
    ("folder", "target"),
    [
        ("base", "gguf/a.h"),
        ("kv", "lora/a.h"),
        ("capi", "bindings/a.h"),
        ("model", "cpu/a.h"),
        ("bindings", "cuda/a.h"),
        ("cpu", "cuda/a.h"),
        ("model", "gpu/a.h"),
        ("include", "base/error.h"),
        ("gguf", "reader.h"),
        ("gguf", "../base/error.h"),
    ],
)
def test_other_includes_are_not(folder, target):
    assert not allowed(folder, target)


def test_an_offence_is_printed_and_fails(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "attic").mkdir()
    (tmp_path / "base" / "a.cpp").write_text('#include <vector>\n  # include "gguf/reader.h"\n')
    (tmp_path / "attic" / "b.h").write_text("")
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'base must not include "gguf/reader.h"' in done.stdout
    assert "folder attic has no rank" in done.stdout
