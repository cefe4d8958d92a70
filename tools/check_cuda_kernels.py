"""No CUDA kernel spills registers: reads what ptxas says of each, for every architecture.

    python tools/check_cuda_kernels.py                  compiles them all (--nvcc, else CUDACXX, else the PATH)
    python tools/check_cuda_kernels.py --built FOLDER   reads what a build kept whose launcher was this script:
    CMAKE_CUDA_COMPILER_LAUNCHER="python;.../check_cuda_kernels.py;--keep" cmake ...

Prints the kernels that use most registers and every offence; a stack frame counts as one, since an
array that is indexed at run time lies there. A build must have a report of every file of kernels for
every architecture, so that what was not compiled does not pass.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

CSRC = Path(__file__).parent.parent / "csrc"
ARCHITECTURES = ["sm_80", "sm_86", "sm_89", "sm_90a"]
VERBOSE = ["-Xptxas", "-v"]
# Functions that were not inlined into a kernel have properties, and no registers of their own.
REPORT = re.compile(
    r"Compiling entry function '\S+' for '(?P<architecture>\w+)'|"
    r"Function properties for (?P<symbol>\S+)\s+(?P<stack>\d+) bytes stack frame, "
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
    r"(?:\s+ptxas info\s*: Used (?P<registers>\d+) registers)?"
)


class Kernel(NamedTuple):
    symbol: str
    architecture: str
    stack: int
    spilled: int
    registers: int


def kernels_of(report: str) -> Iterator[Kernel]:
    """What ptxas said, of one architecture after another."""
    architecture = ""
    for found in REPORT.finditer(report):
        if found["architecture"]:
            architecture = found["architecture"]
            continue
        spilled = int(found["stores"]) + int(found["loads"])
        registers = int(found["registers"] or 0)
        yield Kernel(found["symbol"], architecture, int(found["stack"]), spilled, registers)


def compile_report(nvcc: str, source: Path, architecture: str) -> list[Kernel]:
    """A file's kernels, compiled here."""
    with tempfile.TemporaryDirectory() as room:
        command = [nvcc, "-std=c++17", "-O3", f"-I{CSRC}", f"-I{CSRC / 'include'}"]
        command += [f"-arch={architecture}", *VERBOSE, "-cubin"]
        command += ["-o", f"{room}/out.cubin", str(source)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{source.name} for {architecture} does not compile:\n{done.stderr}")
    return [*kernels_of(done.stderr)]


def compiled(nvcc: str, architectures: list[str], sources: list[Path]) -> list[Kernel]:
    jobs = [(source, architecture) for architecture in architectures for source in sources]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = pool.map(lambda job: compile_report(nvcc, *job), jobs)
        return [kernel for report in reports for kernel in report]


def keep(command: list[str]) -> int:
    """Runs a compiler, what ptxas says beside its output; passes on all else that it says."""
    done = subprocess.run([*command, *VERBOSE], stderr=subprocess.PIPE, text=True)
    if "-o" in command:
        Path(command[command.index("-o") + 1] + ".ptxas").write_text(done.stderr)
    told = done.stderr if done.returncode else re.sub(r"ptxas info .*\n(?: .*\n)?", "", done.stderr)
    sys.stderr.write(told)
    return done.returncode


def built(folder: Path, architectures: list[str], sources: list[Path]) -> list[Kernel]:
    """The kernels of a build; ends if it lacks one of the files or architectures."""
    kernels = []
    for source in sources:
        reports = [*folder.rglob(f"{source.name}.o.ptxas")]
        found = [kernel for report in reports for kernel in kernels_of(report.read_text())]
        missing = {*architectures} - {kernel.architecture for kernel in found}
        if missing:
            sys.exit(f"{folder} has no report of {source.name} for {', '.join(sorted(missing))}")
        kernels += found
    return kernels


def readable(symbol: str) -> str:
    done = subprocess.run(["c++filt", symbol], capture_output=True, text=True)
    name = done.stdout.strip() or symbol
    name = re.sub(r"realm::cuda::|\(anonymous namespace\)::|^void ", "", name)
    return name.split("(")[0]


def verdict(kernels: list[Kernel]) -> int:
    """Tells the largest and the offences; the exit status."""
    offences = [kernel for kernel in kernels if kernel.spilled or kernel.stack]
    for kernel in sorted(kernels, key=lambda kernel: -kernel.registers)[:5]:
        print(f"{kernel.registers:4} registers  {kernel.architecture}  {readable(kernel.symbol)}")
    for kernel in offences:
        print(
            f"spills: {kernel.spilled} bytes, {kernel.stack} bytes of stack  "
            f"{kernel.architecture}  {readable(kernel.symbol)}"
        )
    print(f"{len(kernels)} kernels, {len(offences)} that spill")
    return 1 if offences or not kernels else 0


def main() -> int:
    if sys.argv[1:2] == ["--keep"]:
        return keep(sys.argv[2:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nvcc", default=os.environ.get("CUDACXX", "nvcc"))
    parser.add_argument("--built", type=Path, metavar="FOLDER")
    parser.add_argument("--arch", nargs="+", default=ARCHITECTURES)
    options = parser.parse_args()
    sources = sorted(CSRC.glob("cuda/*.cu"))
    if options.built:
        return verdict(built(options.built, options.arch, sources))
    return verdict(compiled(options.nvcc, options.arch, sources))


if __name__ == "__main__":
    sys.exit(main())
