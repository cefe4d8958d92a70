"""The script that looks at the registers of CUDA's kernels sees a spill, and what it was not shown."""

import os
import runpy
import shutil
import subprocess
import sys

import pytest

from support import ROOT

SCRIPT = ROOT / "tools" / "check_cuda_kernels.py"
names = runpy.run_path(str(SCRIPT))
ARCHITECTURES = names["ARCHITECTURES"]
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))

REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for '{architecture}'
ptxas info    : Function properties for one
    {stack} bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used 209 registers, used 1 barriers, 360 bytes cmem[0]
ptxas info    : Compile time = 4.2 ms
"""
# A function that a kernel calls; ptxas gives it no registers.
CALLED = """ptxas info    : Function properties for called
    {stack} bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
"""


def report(architectures=ARCHITECTURES, stack=0, stores=0, loads=0) -> str:
    values = {"stack": stack, "stores": stores, "loads": loads}
    return "".join(REPORT.format(architecture=name, **values) for name in architectures)


def leave_reports(folder, **last):
    """Clean ones of every file but the last, which has what is given."""
    for source in SOURCES:
        told = report(**last) if source is SOURCES[-1] else report()
        (folder / f"{source.name}.o.ptxas").write_text(told)


def check(*arguments, **more):
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, **more)


def test_a_build_without_spills_passes_and_says_of_how_many_kernels(tmp_path):
    leave_reports(tmp_path)
    done = check("--built", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(SOURCES) * len(ARCHITECTURES)} kernels, 0 that spill" in done.stdout
    assert "209 registers  sm_80  one" in done.stdout


@pytest.mark.parametrize("offence", [{"stack": 8}, {"stores": 4}, {"loads": 4}])
def test_a_spill_and_a_stack_frame_are_named_and_fail(tmp_path, offence):
    leave_reports(tmp_path, **offence)
    done = check("--built", tmp_path)
    assert done.returncode == 1
    assert f"{len(ARCHITECTURES)} that spill" in done.stdout
    assert "bytes of stack  sm_90a  one" in done.stdout


def test_a_function_that_is_called_counts_as_the_kernels_do(tmp_path):
    leave_reports(tmp_path)
    path = tmp_path / f"{SOURCES[0].name}.o.ptxas"
    path.write_text(path.read_text() + CALLED.format(stack=16))
    done = check("--built", tmp_path)
    assert done.returncode == 1
    assert "16 bytes of stack  sm_90a  called" in done.stdout


def test_a_file_or_an_architecture_that_was_not_compiled_fails(tmp_path):
    leave_reports(tmp_path, architectures=ARCHITECTURES[:-1])
    done = check("--built", tmp_path)
    assert done.returncode == 1
    assert f"no report of {SOURCES[-1].name} for sm_90a" in done.stderr
    (tmp_path / f"{SOURCES[-1].name}.o.ptxas").unlink()
    done = check("--built", tmp_path)
    assert f"no report of {SOURCES[-1].name} for {', '.join(sorted(ARCHITECTURES))}" in done.stderr


def compiler(folder, status: int):
    """Says what ptxas would, and a warning."""
    path = folder / "compiler"
    path.write_text(
        f"#!/bin/sh\ncat >&2 <<'E'\n{report()}w.cu: warning of its own\nE\nexit {status}\n"
    )
    path.chmod(0o755)
    return path


def test_a_launcher_keeps_the_report_and_passes_on_the_rest(tmp_path):
    done = check("--keep", compiler(tmp_path, 0), "-o", tmp_path / "a.cu.o")
    assert (done.returncode, done.stderr) == (0, "w.cu: warning of its own\n")
    assert (tmp_path / "a.cu.o.ptxas").read_text().startswith(report())
    done = check("--keep", compiler(tmp_path, 3), "-o", tmp_path / "a.cu.o")
    assert done.returncode == 3
    assert report() in done.stderr  # all of it, where something is wrong


SPILLS = """
__global__ void __launch_bounds__(1024, 2) spills(float* x) {
  float v[64];
#pragma unroll
  for (int i = 0; i < 64; ++i) v[i] = x[i * 32 + threadIdx.x];
#pragma unroll
  for (int j = 0; j < 64; ++j) {
    float s = 0;
#pragma unroll
    for (int i = 0; i < 64; ++i) s += v[i] * v[(i * j + 7) % 64];
    x[j * 32 + threadIdx.x] = s;
  }
}
"""
FRAME = """
__global__ void frame(float* x, int k) {
  float v[256];
  for (int i = 0; i < 256; ++i) v[i] = x[i] * x[i + 1];
  x[threadIdx.x] = v[(k + threadIdx.x) & 255];
}
"""


@pytest.mark.skipif(not shutil.which(os.environ.get("CUDACXX", "nvcc")), reason="no nvcc here")
@pytest.mark.parametrize(("text", "spills"), [(SPILLS, True), (FRAME, False)])
def test_the_compilers_own_words_of_a_spill_are_understood(tmp_path, text, spills):
    source = tmp_path / "planted.cu"
    source.write_text(text)
    nvcc = os.environ.get("CUDACXX", "nvcc")
    kept = [SCRIPT, "--keep", nvcc, "-arch=sm_90a", "-cubin", "-o", tmp_path / "planted", source]
    subprocess.run([sys.executable, *kept], check=True)
    [kernel] = names["kernels_of"]((tmp_path / "planted.ptxas").read_text())
    assert kernel.architecture == "sm_90a"
    assert kernel.stack > 0
    assert (kernel.spilled > 0) == spills
    assert kernel.registers > 0
    assert names["compile_report"](nvcc, source, "sm_90a") == [kernel]
