"""Writes the golden blocks of tests/cpp/quant_decode_test.cpp: what the `gguf` package decodes.

    python tools/make_format_golden.py [--out tests/golden/formats]

One file per weight format, NAME.bin, little-endian: u32 n_blocks, the blocks, the decoded f32
values. The same version of numpy and `gguf` gives the same bytes. Blocks are random bits, but:

* Scales are finite: a list of extreme ones (zeros, subnormals, the largest), then sizes as in
  real weights.
* Blocks of a codebook format step through the whole codebook, so that a wrong entry cannot hide.

Q8_K is missing, since the package does not decode it. It does not decode F64 either; for that the
values are numpy's conversion.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

Blocks = npt.NDArray[np.uint8]  # [n_blocks, bytes of a block]
Words = npt.NDArray[np.uint16]
Rng = np.random.Generator

# Zeros, subnormals and extremes of both signs.
EXTREME_HALVES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF]
EXTREME_E8M0 = [0, 1, 2, 3, 250]
EXTREME_UE4M3 = [0x00, 0x01, 0x07, 0x08, 0x7E, 0x7F]


def half_scales(rng: Rng, n: int) -> Words:
    """Bits of `n` halves, the extreme ones first."""
    values = np.exp2(rng.uniform(-12, 2, n)) * rng.choice([-1.0, 1.0], n)
    bits: Words = values.astype(np.float16).view(np.uint16)
    bits[: len(EXTREME_HALVES)] = EXTREME_HALVES
    return bits


def put_halves(blocks: Blocks, rng: Rng, *offsets: int) -> None:
    """Puts scales at these byte offsets of each block."""
    for offset in offsets:
        # Rolled, so that the extremes of a scale and of a minimum do not meet only each other.
        bits = np.roll(half_scales(rng, len(blocks)), offset)
        blocks[:, offset : offset + 2] = bits.view(np.uint8).reshape(-1, 2)


def put_words(blocks: Blocks, offset: int, words: Words) -> None:
    """Puts 16-bit words, [n_blocks, n_words], at a byte offset of each block."""
    blocks[:, offset : offset + 2 * words.shape[1]] = words.view(np.uint8)


def all_indices(blocks: Blocks, rng: Rng, per_block: int, n_entries: int) -> Words:
    """Codebook indices, [n_blocks, per_block], that name each of `n_entries` in a visible block."""
    n = len(blocks) * per_block
    # The first two blocks have zero scales and show nothing; what they name comes again at the end.
    assert n >= n_entries + 2 * per_block
    indices = np.resize(rng.permutation(n_entries), n)
    return indices.astype(np.uint16).reshape(len(blocks), per_block)


def joined(fields: npt.NDArray[np.integer[Any]], bits: int) -> Words:
    """The `bits`-wide fields of the last axis as one word each, the first field lowest."""
    words = fields << (bits * np.arange(fields.shape[-1]))
    word: Words = np.bitwise_or.reduce(words, axis=-1).astype(np.uint16)
    return word


def patch_iq1_m(blocks: Blocks, rng: Rng) -> None:
    """The half scale of IQ1_M lies in the top nibbles of the four words of its scales."""
    words = blocks[:, 48:56].copy().view(np.uint16)
    nibbles = half_scales(rng, len(blocks))[:, None] >> np.array([0, 4, 8, 12], np.uint16)
    put_words(blocks, 48, (words & 0x0FFF) | (nibbles & 15) << 12)


def patch_iq1_s(blocks: Blocks, rng: Rng) -> None:
    """2048 entries: a low byte each in qs, three high bits each in the words of qh."""
    put_halves(blocks, rng, 0)
    index = all_indices(blocks, rng, 32, 2048)
    blocks[:, 2:34] = index & 255
    words = blocks[:, 34:50].copy().view(np.uint16)
    put_words(blocks, 34, (words & 0xF000) | joined((index >> 8).reshape(-1, 8, 4), 3))


def patch_iq2_xxs(blocks: Blocks, rng: Rng) -> None:
    """256 entries: four index bytes at the start of every eight bytes."""
    put_halves(blocks, rng, 0)
    groups = blocks[:, 2:].reshape(-1, 8, 8)
    groups[:, :, :4] = all_indices(blocks, rng, 32, 256).reshape(-1, 8, 4)
    blocks[:, 2:] = groups.reshape(-1, 64)


def patch_iq2_xs(blocks: Blocks, rng: Rng) -> None:
    """512 entries: the low nine bits of the words of qs."""
    put_halves(blocks, rng, 0)
    words = blocks[:, 2:66].copy().view(np.uint16)
    put_words(blocks, 2, (words & 0xFE00) | all_indices(blocks, rng, 32, 512))


def patch_iq2_s(blocks: Blocks, rng: Rng) -> None:
    """1024 entries: a low byte each in qs, two high bits each in qh."""
    put_halves(blocks, rng, 0)
    index = all_indices(blocks, rng, 32, 1024)
    blocks[:, 2:34] = index & 255
    blocks[:, 66:74] = joined((index >> 8).reshape(-1, 8, 4), 2)


def patch_iq3_xxs(blocks: Blocks, rng: Rng) -> None:
    """256 entries: the first 64 bytes of qs."""
    put_halves(blocks, rng, 0)
    blocks[:, 2:66] = all_indices(blocks, rng, 64, 256)


def patch_iq3_s(blocks: Blocks, rng: Rng) -> None:
    """512 entries: a low byte each in qs, a high bit each in qh."""
    put_halves(blocks, rng, 0)
    index = all_indices(blocks, rng, 64, 512)
    blocks[:, 2:66] = index & 255
    blocks[:, 66:74] = joined((index >> 8).reshape(-1, 8, 8), 1)


def patch_mxfp4(blocks: Blocks, rng: Rng) -> None:
    """A power of two as scale."""
    blocks[:, 0] = rng.integers(108, 132, len(blocks))
    blocks[: len(EXTREME_E8M0), 0] = EXTREME_E8M0


def patch_nvfp4(blocks: Blocks, rng: Rng) -> None:
    """Four unsigned scales, the top bit clear."""
    blocks[:, :4] &= 0x7F
    n = len(EXTREME_UE4M3)
    blocks[:n, 0] = EXTREME_UE4M3
    blocks[:n, 3] = EXTREME_UE4M3[::-1]


def patch_f32(blocks: Blocks, _rng: Rng) -> None:
    """Clears the lowest exponent bit: neither infinity nor NaN remains."""
    blocks[:, 2] &= 0x7F


def patch_bf16(blocks: Blocks, _rng: Rng) -> None:
    """As F32, whose upper half it is."""
    blocks[:, 0] &= 0x7F


def patch_f16(blocks: Blocks, rng: Rng) -> None:
    """Random bits, extremes first, the lowest exponent bit clear elsewhere."""
    blocks[:, 1] &= 0xFB
    n = len(EXTREME_HALVES)
    blocks[:n] = half_scales(rng, n).view(np.uint8).reshape(-1, 2)


def patch_f64(blocks: Blocks, rng: Rng) -> None:
    """Doubles over the whole range of floats, subnormals included, then exact ties and extremes."""
    n = len(blocks)
    values = rng.standard_normal(n) * np.exp2(rng.uniform(-150, 126, n))
    ties = rng.standard_normal(n // 4).astype(np.float32).astype(np.float64)
    values[: n // 4] = ties + np.spacing(ties.astype(np.float32)).astype(np.float64) / 2
    values[n // 4 : n // 4 + 6] = [0.0, -0.0, 1e39, -1e39, 2.0**-149, 2.0**-150]
    blocks[:] = values.view(np.uint8).reshape(n, 8)


def halves_at(*offsets: int) -> Callable[[Blocks, Rng], None]:
    """A patch that only makes the scales at these offsets finite."""
    return lambda blocks, rng: put_halves(blocks, rng, *offsets)


class Recipe(NamedTuple):
    """How many blocks, and what makes random bits a valid block."""

    n_blocks: int
    patch: Callable[[Blocks, Rng], None]


RECIPES = {
    "F32": Recipe(1024, patch_f32),
    "F16": Recipe(1024, patch_f16),
    "BF16": Recipe(1024, patch_bf16),
    "F64": Recipe(1024, patch_f64),
    "Q4_0": Recipe(32, halves_at(0)),
    "Q4_1": Recipe(32, halves_at(0, 2)),
    "Q5_0": Recipe(32, halves_at(0)),
    "Q5_1": Recipe(32, halves_at(0, 2)),
    "Q8_0": Recipe(32, halves_at(0)),
    "Q2_K": Recipe(24, halves_at(80, 82)),
    "Q3_K": Recipe(24, halves_at(108)),
    "Q4_K": Recipe(24, halves_at(0, 2)),
    "Q5_K": Recipe(24, halves_at(0, 2)),
    "Q6_K": Recipe(24, halves_at(208)),
    "IQ1_S": Recipe(68, patch_iq1_s),
    "IQ1_M": Recipe(24, patch_iq1_m),
    "IQ2_XXS": Recipe(24, patch_iq2_xxs),
    "IQ2_XS": Recipe(24, patch_iq2_xs),
    "IQ2_S": Recipe(40, patch_iq2_s),
    "IQ3_XXS": Recipe(24, patch_iq3_xxs),
    "IQ3_S": Recipe(24, patch_iq3_s),
    "IQ4_NL": Recipe(32, halves_at(0)),
    "IQ4_XS": Recipe(24, halves_at(0)),
    "TQ1_0": Recipe(24, halves_at(52)),
    "TQ2_0": Recipe(24, halves_at(64)),
    "MXFP4": Recipe(32, patch_mxfp4),
    "NVFP4": Recipe(32, patch_nvfp4),
}


def make_blocks(name: str) -> Blocks:
    """The blocks of a format, seeded by its id."""
    dtype = GGMLQuantizationType[name]
    recipe = RECIPES[name]
    rng = np.random.default_rng([2024, dtype.value])
    shape = (recipe.n_blocks, GGML_QUANT_SIZES[dtype][1])
    blocks = rng.integers(0, 256, shape, dtype=np.uint8)
    recipe.patch(blocks, rng)
    return blocks


def decode(name: str, blocks: Blocks) -> npt.NDArray[np.float32]:
    """What the `gguf` package (numpy for F64) makes of the blocks."""
    if name == "F64":
        with np.errstate(over="ignore"):
            return blocks.view(np.float64).astype(np.float32)
    values: npt.NDArray[np.float32] = dequantize(blocks, GGMLQuantizationType[name])
    assert values.dtype == np.float32
    return values


def main() -> None:
    """Writes one file per format."""
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=root / "tests/golden/formats")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name in RECIPES:
        blocks = make_blocks(name)
        values = decode(name, blocks)
        assert not np.isnan(values).any(), name
        content = np.uint32(len(blocks)).tobytes() + blocks.tobytes() + values.tobytes()
        (out / f"{name}.bin").write_bytes(content)


if __name__ == "__main__":
    main()
