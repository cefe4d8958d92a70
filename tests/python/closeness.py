"""How near two tables of logits are, and the golden files that say what they should be.

The comparison cannot pass on NaN, on infinities, or because one side is empty or broadcast.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from support import GOLDEN

# What "auto" means in this process: the device that the tests load their models on.
DEVICE = os.environ.get("REALM_BACKEND", "cpu")
IS_CUDA = DEVICE.startswith("cuda")

# How far logits may be from an oracle's; docs/numerics.md says where the bounds come from.
# With f32 activations everything is computed in f32: what is left is rounding, about 1e-13, in both
# programs.
EXACT = 1e-9
# The same with the default activations over weights in floats. CUDA's matrix unit takes inputs
# rounded to halves; the other devices compute in f32.
FLOAT_WEIGHTS = 1e-5 if IS_CUDA else EXACT
# With 8-bit activations, by how many weights share a scale of activations. llama.cpp's own distances
# on tests/golden/quant are 3.2e-4 to 4.0e-4 and 6.8e-4 to 9.8e-4.
INT8_BY_32 = 4.0e-4
INT8_BY_256 = 1.0e-3
# Keys and values rounded to 11 bits, relative errors of 2^-12: NMSE of some 1e-8 per layer. CUDA's
# attention rounds queries and weights as it does keys.
F16_KV = 1e-5 if IS_CUDA else 1e-6
BF16_KV = 1e-4 if IS_CUDA else 3e-5
Q8_0_KV = 3e-4

Logits = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int32]


def nmse(ours: Logits, reference: Logits) -> float:
    """Sum of squared differences over the reference's sum of squares; inf if `ours` is not finite."""
    assert ours.shape == reference.shape
    assert reference.size > 0
    assert np.isfinite(reference).all()
    if not np.isfinite(ours).all():
        return float("inf")
    x, y = ours.astype(np.float64), reference.astype(np.float64)
    scale = float((y * y).sum())
    assert scale > 0
    return float(((x - y) ** 2).sum()) / scale


def same_bits(x: Logits, y: Logits) -> bool:
    """Equal bit for bit, and numbers at all."""
    assert x.dtype == y.dtype == np.float32
    assert x.shape == y.shape
    assert x.size > 0
    assert np.isfinite(x).all()
    return x.tobytes() == y.tobytes()


@dataclass(frozen=True)
class Sequence:
    """Tokens, and the logits that another program computed after some of them."""

    tokens: Ids
    rows: Ids
    logits: Logits

    def nmse(self, ours: Logits) -> float:
        """Of all rows' logits, `[T, V]`."""
        return nmse(ours[self.rows], self.logits)


def arch_model(name: str) -> Path:
    return GOLDEN / "arch" / name / "model-f32.gguf"


def arch_oracle(name: str) -> tuple[Sequence, Ids]:
    """A sequence, and 12 given tokens with the 24 greedy ones that follow."""
    oracle = np.load(GOLDEN / "arch" / name / "oracle.npz")
    tokens = oracle["tokens"]
    return Sequence(tokens, np.arange(len(tokens)), oracle["logits"]), oracle["greedy"]


def forward_model(case: str) -> Path:
    return GOLDEN / "forward" / f"{case}.gguf"


def forward_oracle(case: str) -> Iterator[Sequence]:
    """The sequences of a file of tools/make_forward_golden.py."""
    oracle = np.load(GOLDEN / "forward" / f"{case}.npz")
    for i in range(sum(key.startswith("tokens_") for key in oracle.files)):
        yield Sequence(oracle[f"tokens_{i}"], oracle[f"rows_{i}"], oracle[f"logits_{i}"])


ARCHITECTURES = sorted(path.name for path in (GOLDEN / "arch").iterdir())
FORWARD_CASES = sorted(path.stem for path in (GOLDEN / "forward").glob("*.npz"))
