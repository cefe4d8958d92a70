"""Random weights in any format, straight as encoded blocks: nothing is quantized, so it is fast.

Every bit pattern is a valid block once its scales are sane. The quants are random bytes; the scales
are set so that the decoded values have mean 0 and about the standard deviation asked for. How large
a format's random quants are, the `gguf` package's own decoder says.
"""

from __future__ import annotations

from functools import cache

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

# Where a block's scale lies and, in formats that have one, its minimum: offsets of IEEE halves.
_HALVES = {
    Type.Q4_0: (0,), Type.Q4_1: (0, 2), Type.Q5_0: (0,), Type.Q5_1: (0, 2), Type.Q8_0: (0,),
    Type.Q2_K: (80, 82), Type.Q3_K: (108,), Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,),
    Type.IQ1_S: (0,), Type.IQ2_XXS: (0,), Type.IQ2_XS: (0,), Type.IQ2_S: (0,), Type.IQ3_XXS: (0,),
    Type.IQ3_S: (0,), Type.IQ4_NL: (0,), Type.IQ4_XS: (0,), Type.TQ1_0: (52,), Type.TQ2_0: (64,),
}  # fmt: skip

# Formats without a block: sign and mantissa are random, the exponent is one for all values.
_FLOATS = {
    Type.F32: (np.uint32, 0x807FFFFF, 23, 127),
    Type.F16: (np.uint16, 0x83FF, 10, 15),
    Type.BF16: (np.uint16, 0x807F, 7, 127),
}
_FLOAT_STD = (7 / 3) ** 0.5  # of values that are uniform on 1 to 2, with either sign

_SMALLER = {  # what takes a format's place in rows that its blocks do not fit: as llama.cpp chooses
    Type.Q2_K: Type.Q4_0, Type.Q3_K: Type.Q4_0, Type.Q4_K: Type.Q5_0, Type.Q5_K: Type.Q5_1,
    Type.Q6_K: Type.Q8_0, Type.TQ1_0: Type.Q4_0, Type.TQ2_0: Type.Q4_0,
}  # fmt: skip

SUPPORTED = tuple(t.name for t in (*_FLOATS, *_HALVES, Type.IQ1_M, Type.MXFP4, Type.NVFP4))


def fitting_type(wanted: Type, cols: int) -> Type:
    """`wanted`, or what takes its place where rows of `cols` values are no whole number of blocks."""
    if cols % gguf.GGML_QUANT_SIZES[wanted][0] == 0:
        return wanted
    smaller = _SMALLER.get(wanted, Type.IQ4_NL)
    return smaller if cols % gguf.GGML_QUANT_SIZES[smaller][0] == 0 else Type.F16


def random_matrix(rng: np.random.Generator, kind: Type, rows: int, cols: int, std: float) -> Bytes:
    """A matrix in format `kind`, `[rows, bytes of a row]`."""
    if kind in _FLOATS:
        return _random_floats(rng, kind, rows, cols, std)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = _random_bytes(rng, rows * cols // elements, size)
    scale, minimum = _unit(kind)
    _set_scales(kind, blocks, std * scale, std * minimum)
    return blocks.reshape(rows, cols // elements * size)


def _random_bytes(rng: np.random.Generator, n: int, size: int) -> Bytes:
    words = rng.integers(0, 2**64, (n * size + 7) // 8, dtype=np.uint64)
    return words.view(np.uint8)[: n * size].reshape(n, size)


def _random_floats(rng: np.random.Generator, kind: Type, rows: int, cols: int, std: float) -> Bytes:
    word, random_bits, mantissa_bits, bias = _FLOATS[kind]
    size = np.dtype(word).itemsize
    values = _random_bytes(rng, rows * cols, size).view(word)
    exponent = max(1, round(np.log2(std / _FLOAT_STD)) + bias)
    values &= word(random_bits)
    values |= word(exponent << mantissa_bits)
    return values.view(np.uint8).reshape(rows, cols * size)


@cache
def _unit(kind: Type) -> tuple[float, float]:
    """The scale and the minimum that give random blocks mean 0 and standard deviation 1."""
    blocks = _random_bytes(np.random.default_rng(0), 4096, gguf.GGML_QUANT_SIZES[kind][1])

    def decoded(scale: float, minimum: float) -> NDArray[np.float32]:
        _set_scales(kind, blocks, scale, minimum)
        return gguf.dequantize(blocks, kind)

    minimum = 0.0
    if len(_HALVES.get(kind, ())) == 2:
        minimum = -float(decoded(1, 0).mean() / decoded(0, 1).mean())
    std = float(decoded(1, minimum).std())
    return 1 / std, minimum / std


def _set_scales(kind: Type, blocks: Bytes, scale: float, minimum: float) -> None:
    if kind == Type.MXFP4:  # a power of two
        blocks[:, 0] = 127 + round(np.log2(scale))
    elif kind == Type.NVFP4:  # four bytes of four exponent and three mantissa bits
        blocks[:, :4] = np.abs(_UE4M3 - scale).argmin()
    elif kind == Type.IQ1_M:  # the half's nibbles are the top ones of four words
        bits = int(np.float16(scale).view(np.uint16))
        words = blocks[:, 48:56].view(np.uint16)
        words &= np.uint16(0x0FFF)
        words |= np.array([(bits >> 4 * i & 15) << 12 for i in range(4)], np.uint16)
    else:
        for offset, value in zip(_HALVES[kind], (scale, minimum), strict=False):
            blocks[:, offset : offset + 2] = np.float16([value]).view(np.uint8)


# The values of the codes 0 .. 126 of an unsigned 8-bit float; 127 is no number.
_UE4M3 = np.array(
    [c * 2.0**-9 if c < 8 else (1 + c % 8 / 8) * 2.0 ** (c // 8 - 7) for c in range(127)]
)
