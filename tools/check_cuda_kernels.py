"""No CUDA kernel spills registers: compiles each for every architecture and reads what ptxas says.

Needs nvcc (--nvcc, else CUDACXX, else the PATH). Prints the kernels that use most registers and
every offence; a stack frame counts as one, since an array that is indexed at run time lies there.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

CSRC = Path(__file__).parent.parent / "csrc"
ARCHITECTURES = ["sm_80", "sm_86", "sm_89", "sm_90a"]
REPORT = re.compile(
    r"Function properties for (\S+)\s+(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads\s+.*?Used (\d+) registers"
)


class Kernel(NamedTuple):
    name: str
    architecture: str
    stack: int
    spilled: int
    registers: int


def compile_report(nvcc: str, source: Path, architecture: str) -> list[Kernel]:
    """What ptxas says of a file's kernels."""
    with tempfile.TemporaryDirectory() as room:
        command = [nvcc, "-std=c++17", "-O3", f"-I{CSRC}", f"-I{CSRC / 'include'}"]
        command += [f"-arch={architecture}", "-Xptxas", "-v", "-cubin"]
        command += ["-o", f"{room}/out.cubin", str(source)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{source.name} for {architecture} does not compile:\n{done.stderr}")
    return [
        Kernel(readable(name), architecture, int(stack), int(stores) + int(loads), int(registers))
        for name, stack, stores, loads, registers in REPORT.findall(done.stderr)
    ]


def readable(symbol: str) -> str:
    done = subprocess.run(["c++filt", symbol], capture_output=True, text=True)
    name = done.stdout.strip() or symbol
    name = re.sub(r"realm::cuda::|\(anonymous namespace\)::|^void ", "", name)
    return name.split("(")[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nvcc", default=os.environ.get("CUDACXX", "nvcc"))
    parser.add_argument("--arch", nargs="+", default=ARCHITECTURES)
    options = parser.parse_args()
    jobs = [(source, arch) for arch in options.arch for source in sorted(CSRC.glob("cuda/*.cu"))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = pool.map(lambda job: compile_report(options.nvcc, *job), jobs)
        kernels = [kernel for report in reports for kernel in report]
    offences = [kernel for kernel in kernels if kernel.spilled or kernel.stack]
    for kernel in sorted(kernels, key=lambda kernel: -kernel.registers)[:5]:
        print(f"{kernel.registers:4} registers  {kernel.architecture}  {kernel.name}")
    for kernel in offences:
        print(
            f"spills: {kernel.spilled} bytes, {kernel.stack} bytes of stack  "
            f"{kernel.architecture}  {kernel.name}"
        )
    print(f"{len(kernels)} kernels, {len(offences)} that spill")
    return 1 if offences or not kernels else 0


if __name__ == "__main__":
    sys.exit(main())
