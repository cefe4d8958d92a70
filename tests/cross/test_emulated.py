"""Arm's kernels under qemu: the forward is right, its bits are x86-64's, and the level is the CPU's.

Not part of `pytest`'s default run; docs/contributing.md says how to build what it needs:

    REALM_ARM_BUILD=build/arm REALM_NATIVE_BUILD=build/dev pytest tests/cross -s
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from closeness import (
    EXACT,
    F16_KV,
    INT8_BY_32,
    INT8_BY_256,
    Sequence,
    arch_model,
    arch_oracle,
    forward_model,
    forward_oracle,
    same_bits,
)
from support import GOLDEN, ROOT

QEMU = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
# A processor of qemu's for each level, which that level is the best of.
PROCESSORS = {"cortex-a57": "neon", "cortex-a76": "dotprod", "max": "i8mm"}


def program(variable: str) -> Path:
    return ROOT / os.environ[variable] / "tests" / "cross" / "logits"


def quant_case(name: str) -> tuple[Path, Sequence]:
    oracle = np.load(GOLDEN / "quant" / "oracle.npz")
    tokens = oracle["tokens"]
    return GOLDEN / "quant" / f"{name}.gguf", Sequence(tokens, np.arange(len(tokens)), oracle[name])


def arch_case(name: str) -> tuple[Path, Sequence]:
    return arch_model(name), arch_oracle(name)[0]


def forward_case(name: str) -> tuple[Path, Sequence]:
    return forward_model(name), next(forward_oracle(name))


# File, cache, activations, and how near the oracle's logits must be: as tests/python/test_forward.py.
CASES = {
    "llama": (arch_case, "f32", "f32", EXACT),
    "qwen3": (arch_case, "f16", "f32", F16_KV),
    "gemma2-window": (forward_case, "f32", "f32", EXACT),
    "mixtral-8-experts": (forward_case, "f32", "int8", EXACT),
    "Q4_0": (quant_case, "f32", "int8", INT8_BY_32),
    "Q8_0": (quant_case, "f32", "int8", INT8_BY_32),
    "Q4_K_M": (quant_case, "f32", "int8", INT8_BY_256),
    "Q6_K": (quant_case, "f32", "int8", INT8_BY_256),
    "IQ4_XS": (quant_case, "f32", "int8", INT8_BY_256),
    "IQ3_S": (quant_case, "f32", "int8", INT8_BY_256),
}


def run(command: list[str], arguments: list[str], tokens: np.ndarray, **environment: str):
    """Logits `[T, V]`, and the description of what computed them."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "tokens", Path(folder) / "logits"
        tokens.astype(np.int32).tofile(given)
        done = subprocess.run(
            [*command, *arguments, str(given), str(made)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return np.fromfile(made, np.float32).reshape(len(tokens), -1), done.stdout.strip()


def on_arm(processor: str, arguments: list[str], tokens: np.ndarray, **environment: str):
    command = [QEMU, "-cpu", processor, str(program("REALM_ARM_BUILD"))]
    return run(command, arguments, tokens, **environment)


def arguments_of(case: str, chunk: int) -> tuple[list[str], Sequence, float]:
    load, cache, activations, budget = CASES[case]
    path, sequence = load(case)
    return [str(path), cache, activations, str(chunk)], sequence, budget


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("case", CASES)
def test_logits_on_arm_are_near_the_oracles_and_have_the_bits_of_x86(case, processor):
    arguments, sequence, budget = arguments_of(case, 512)
    ours, description = on_arm(processor, arguments, sequence.tokens)
    assert f"cpu {PROCESSORS[processor]}," in description
    error = sequence.nmse(ours)
    print(f"\n{case:18} {PROCESSORS[processor]:8} NMSE {error:.1e}, at most {budget:.0e}", end="")
    assert error <= budget
    native, _ = run([str(program("REALM_NATIVE_BUILD"))], arguments, sequence.tokens)
    assert same_bits(ours, native)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_chunks_and_levels_of_arm_give_the_same_bits(processor):
    whole, sequence, _ = arguments_of("Q4_K_M", 512)
    expected, _ = on_arm(processor, whole, sequence.tokens)
    levels = ["baseline", *PROCESSORS.values()][: 2 + list(PROCESSORS).index(processor)]
    for level in levels:
        for chunk in [1, 3, 8]:
            arguments, _, _ = arguments_of("Q4_K_M", chunk)
            ours, description = on_arm(processor, arguments, sequence.tokens, REALM_CPU_ISA=level)
            assert f"cpu {level}," in description
            assert same_bits(ours, expected)


def test_a_level_that_the_processor_lacks_is_refused():
    arguments, sequence, _ = arguments_of("Q8_0", 512)
    with pytest.raises(AssertionError, match="this machine has baseline, neon, dotprod"):
        on_arm("cortex-a76", arguments, sequence.tokens, REALM_CPU_ISA="i8mm")
