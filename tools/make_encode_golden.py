"""Writes the golden files of tests/cpp/quant_encode_test.cpp.

    python tools/make_encode_golden.py --oracles DIR --ggml-base PATH [--out tests/golden/encode]

* `legacy/input.f32` and `legacy/NAME.bin`: blocks of 32 floats, ordinary and hostile, and what the
  `gguf` package makes of them. Run it on x86: where that package casts NaN to an integer, other
  machines give other quants.
* `search/input.f16` and `search/reference.txt`: superblocks of 256 values in named sets, and the
  root-mean-square error of llama.cpp's quantizer on each: lines `type set first n rms`, counted in
  superblocks. DIR holds quant/F16.gguf, whose weights are one of the sets; PATH is llama.cpp's
  libggml-base, as a llama-cpp-python wheel has it in llama_cpp/lib.
"""

from __future__ import annotations

import argparse
import ctypes
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize, quantize

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

LEGACY = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
SEARCHED = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
LARGEST = float(np.finfo(np.float32).max)


def float_of(bits: npt.NDArray[np.integer]) -> Floats:
    return bits.astype(np.uint32).view(np.float32)


def half_way(rng: np.random.Generator, n: int) -> Doubles:
    """Blocks whose values lie on quants and half way between them, in one of the formats."""
    low, high = np.array([(-8, 8), (-16, 16), (0, 15), (0, 31), (-127, 127)])[np.arange(n) % 5].T
    values = rng.integers(2 * low[:, None], 2 * high[:, None] + 1, (n, 32)) / 2
    values[:, 0] = low
    values[:, -1] = np.where(low < 0, values[:, -1], high)
    steps: Doubles = values * np.exp2(rng.integers(-10, 10, (n, 1)))
    return steps


def legacy_input(n: int = 56) -> Floats:
    """`n` blocks of each kind: [n_blocks, 32], all finite."""
    rng = np.random.default_rng(1)
    shape = (n, 32)
    sign = rng.integers(0, 2, shape) << 31
    any_bits = rng.integers(0, 1 << 32, shape)
    any_bits = np.where(any_bits >> 23 & 255 == 255, any_bits & 0x7F7FFFFF, any_bits)
    kinds: dict[str, npt.NDArray[np.floating]] = {
        "gaussian": rng.standard_normal(shape),
        "heavy tails": rng.standard_t(2, shape) * 0.02,
        "few values, so ties of magnitude": rng.integers(-20, 21, shape).astype(np.float64)
        * np.exp2(rng.integers(-10, 10, (n, 1))),
        "ties of rounding": half_way(rng, n),
        "halves": rng.standard_normal(shape).astype(np.float16),
        "a scale to each block": rng.standard_normal(shape) * 10 ** rng.uniform(-45, 38, (n, 1)),
        "a scale to each value": rng.standard_normal(shape) * 10 ** rng.uniform(-45, 38, shape),
        "constant": np.broadcast_to(rng.standard_normal((n, 1)), shape),
        "mostly zero": np.where(rng.random(shape) < 0.1, rng.standard_normal(shape), 0.0),
        "zeros of one sign": np.broadcast_to(np.where(np.arange(n)[:, None] % 2, -0.0, 0.0), shape),
        "any bits": float_of(any_bits),
        "subnormal": float_of(rng.integers(0, 1 << 24, shape) | sign),
        "a few units of the smallest subnormal": float_of(rng.integers(0, 40, shape) | sign),
        "spans beyond the largest float": LARGEST * rng.choice([-1, 1, 0.5, -0.25], shape),
        "far from zero": np.abs(rng.standard_normal(shape)) + 3,
    }
    blocks = np.concatenate([kind.astype(np.float64) for kind in kinds.values()])
    values: Floats = blocks.clip(-LARGEST, LARGEST).astype(np.float32)
    # Which zero is the least of a block is numpy's secret: leave it no choice.
    values[
        (values.min(axis=1, keepdims=True) == 0) & (values == 0) & (values.max(1) > 0)[:, None]
    ] = 0
    return values


def search_input(oracles: Path) -> dict[str, Floats]:
    """Named sets of whole superblocks, exact in halves."""
    rng = np.random.default_rng(3)
    n = 256 * 64
    outlier = rng.standard_normal((16, 1024)) * 0.02
    outlier[:, rng.choice(1024, 12, replace=False)] *= 20
    tensors = {
        tensor.name: tensor.data for tensor in GGUFReader(oracles / "quant/F16.gguf").tensors
    }
    sets = {
        "model": np.asarray(tensors["blk.0.attn_k.weight"]).ravel(),
        "gaussian": rng.standard_normal(n) * 0.02,
        "student": rng.standard_t(3, n) * 0.02,
        "outlier": outlier.ravel(),
        "positive": np.abs(rng.standard_normal(n // 2)) * 0.02,
        "offset": rng.standard_normal(n // 2) * 0.02 + 0.1,
        "sparse": np.where(rng.random(n // 2) < 0.7, 0, rng.standard_normal(n // 2) * 0.02),
    }
    return {name: x.astype(np.float16).astype(np.float32) for name, x in sets.items()}


class Ggml:
    """llama.cpp's quantizer."""

    def __init__(self, library: Path) -> None:
        """Loads libggml-base."""
        self._chunk = ctypes.CDLL(str(library)).ggml_quantize_chunk
        self._chunk.restype = ctypes.c_size_t
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        self._chunk.argtypes = [ctypes.c_int, pointer, pointer, count, count, count, pointer]

    def quantize(self, name: str, x: Floats) -> Bytes:
        """Blocks of `x`, one row, without an importance matrix."""
        dtype = GGMLQuantizationType[name]
        elements, size = GGML_QUANT_SIZES[dtype]
        blocks: Bytes = np.empty(x.size // elements * size, np.uint8)
        written = self._chunk(dtype.value, x.ctypes.data, blocks.ctypes.data, 0, 1, x.size, None)
        assert written == blocks.size
        return blocks


def rms_error(name: str, blocks: Bytes, x: Floats) -> float:
    decoded = dequantize(blocks, GGMLQuantizationType[name]).astype(np.float64)
    return float(np.sqrt(np.mean((decoded - x) ** 2)))


def write_legacy(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    values = legacy_input()
    (out / "input.f32").write_bytes(values.tobytes())
    for name in LEGACY:
        with np.errstate(all="ignore"):
            blocks = quantize(values, GGMLQuantizationType[name])
        (out / f"{name}.bin").write_bytes(blocks.tobytes())


def write_search(out: Path, oracles: Path, ggml: Ggml) -> None:
    out.mkdir(parents=True, exist_ok=True)
    sets = search_input(oracles)
    halves = np.concatenate(list(sets.values())).astype(np.float16)
    (out / "input.f16").write_bytes(halves.tobytes())
    lines = []
    first = 0
    for set_name, x in sets.items():
        for name in SEARCHED:
            rms = rms_error(name, ggml.quantize(name, x), x)
            lines.append(f"{name} {set_name} {first} {x.size // 256} {rms:.9g}\n")
        first += x.size // 256
    (out / "reference.txt").write_text("".join(lines))


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--oracles", type=Path, required=True)
    parser.add_argument("--ggml-base", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=root / "tests/golden/encode")
    args = parser.parse_args()
    write_legacy(args.out / "legacy")
    write_search(args.out / "search", args.oracles, Ggml(args.ggml_base))


if __name__ == "__main__":
    main()
