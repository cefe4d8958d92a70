"""Instruction counts of the inner loops of matrix products, kept within thresholds.

    python benchmarks/instructions.py PROGRAM [--level avx512vnni]

Clocks are noisy on shared machines; what the compiler made of a loop is not. PROGRAM is any that
links the core, such as cpu_products. Of each kernel's innermost loops that multiply it counts
instructions and loads for each dot instruction (some processors load hardly more than one vector a
clock, beside two dots), and the accesses to the stack, which are registers that did not fit; the
line shows the worst of the loops with the most dots. Needs objdump. Exits with 1 if a count is
above its threshold: the figure when the kernel was last measured, and a tenth. `.ci/run` runs it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DOT = {"avx512vnni": "vpdpbusd", "avx512": "vpmaddubsw", "avx2": "vpmaddubsw"}
FUNCTION = re.compile(r"^[0-9a-f]+ <(?P<name>.*)>:$")
LINE = re.compile(r"^\s*(?P<at>[0-9a-f]+):\s+(?P<code>\S+)\s*(?P<operands>.*)$")

# Instructions and loads for each dot, and stack accesses for each hundred, of kernels at avx512vnni.
THRESHOLDS = {
    "tile<SubBlocks<32, false, true>, false, 4, 3>": (2.25, 0.76, 1),
    "tile<SubBlocks<32, false, false>, true, 4, 3>": (2.25, 0.8, 1),
    "tile<SubBlocks<16, false, false>, true, 4, 3>": (2.8, 0.89, 1),
    "tile<SubBlocks<32, true, false>, true, 4, 3>": (2.5, 0.82, 1),
    "tile<SubBlocks<32, true, true>, false, 4, 3>": (2.9, 0.85, 1),
    "multiply_panels<8, true, 2>": (2.05, 0.6, 1),
    "multiply_panels<16, false, 2>": (2.35, 0.7, 1),
    "fused<FormatQ4K, 1, 2>": (5.25, 2.5, 1),  # a fetch among them
    "fused<FormatQ4K, 8, 2>": (2.55, 0.84, 9),
    "fused<FormatQ6K, 8, 2>": (4.6, 1.38, 43),
    "fused<FormatQ8_0, 8, 2>": (2.7, 1.03, 6),
    "fused<FormatQ4_0, 8, 2>": (2.7, 0.97, 7),
}


@dataclass
class Instruction:
    """One line of a disassembly."""

    at: int
    code: str
    operands: str

    @property
    def is_load(self) -> bool:
        if self.code.startswith("prefetch"):
            return True
        reads = "(%" in self.operands and not self.operands.rstrip().endswith(")")
        return reads and not self.code.startswith(("lea", "nop"))


@dataclass
class Loop:
    """What a loop's instructions come to."""

    instructions: int
    dots: int
    loads: int
    stack: int

    @property
    def per_dot(self) -> float:
        return self.instructions / self.dots

    @property
    def loads_per_dot(self) -> float:
        return self.loads / self.dots

    @property
    def stack_per_cent(self) -> float:
        return 100 * self.stack / self.dots


def functions(program: Path, level: str) -> dict[str, list[Instruction]]:
    """The kernels of a level, by name without their namespaces."""
    command = ["objdump", "-d", "--no-show-raw-insn", "-C", str(program)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[Instruction]] = {}
    body: list[Instruction] | None = None
    scope = f"realm::cpu::level_{level}::"
    for line in text.splitlines():
        if head := FUNCTION.match(line):
            name = head["name"].replace("(anonymous namespace)::", "")
            body = None
            if scope in name and "(" in name:
                short = name.partition("(")[0].replace(scope, "").removeprefix("void ")
                body = found.setdefault(short, [])
        elif body is not None and (match := LINE.match(line)):
            body.append(Instruction(int(match["at"], 16), match["code"], match["operands"]))
    return found


def innermost_loops(body: list[Instruction], dot: str) -> list[Loop]:
    """The loops that hold dots and no other such loop."""
    spans: list[tuple[int, int]] = []
    for end, jump in enumerate(body):
        target = jump.operands.split(" ")[0]
        if not jump.code.startswith("j") or not re.fullmatch("[0-9a-f]+", target):
            continue
        start = next((i for i in range(end) if body[i].at == int(target, 16)), None)
        if start is not None and any(one.code == dot for one in body[start : end + 1]):
            spans.append((start, end))
    inner = [
        (start, end)
        for start, end in spans
        if not any(start <= s and e <= end and (s, e) != (start, end) for s, e in spans)
    ]
    return [counted(body[start : end + 1], dot) for start, end in inner]


def counted(inside: list[Instruction], dot: str) -> Loop:
    """A loop of these instructions."""
    stack = sum("(%rsp" in one.operands or "(%rbp" in one.operands for one in inside)
    dots = sum(one.code == dot for one in inside)
    return Loop(len(inside), dots, sum(one.is_load for one in inside), stack)


def worst_loop(body: list[Instruction], dot: str) -> Loop | None:
    """Of the innermost loops with the most dots, the one with the most accesses to the stack, then instructions."""
    loops = innermost_loops(body, dot)
    most = max((loop.dots for loop in loops), default=0)
    full = [loop for loop in loops if loop.dots == most]
    return max(full, key=lambda loop: (loop.stack, loop.instructions), default=None)


def main() -> int:
    """Prints a line for each kernel; the status says whether all are within their thresholds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--level", choices=DOT, default="avx512vnni")
    args = parser.parse_args()
    kernels = functions(args.program, args.level)
    failed = False
    print(f"{'kernel':52} {'dots':>5} {'per dot':>8} {'loads':>6} {'stack %':>8}")
    for name, limits in THRESHOLDS.items():
        loop = worst_loop(kernels.get(name, []), DOT[args.level])
        if loop is None:
            print(f"{name:52} has no loop of dots")
            failed = True
            continue
        found = (loop.per_dot, loop.loads_per_dot, loop.stack_per_cent)
        above = any(figure > limit for figure, limit in zip(found, limits, strict=True))
        too_much = args.level == "avx512vnni" and above
        failed |= too_much
        remark = f"  above {limits}" if too_much else ""
        figures = f"{found[0]:8.2f} {found[1]:6.2f} {found[2]:8.1f}"
        print(f"{name:52} {loop.dots:5} {figures}{remark}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
