#!/usr/bin/env python3
"""Write the tiny files beside this script with the `gguf` package: make_tiny.py [OUTDIR].

tiny.gguf            every value type, a small vocabulary, tensors of ranks 1 to 4 in seven formats
tiny-vocab.gguf      the same keys and no tensor
tiny-big.gguf        the same, big-endian
split-0000N-of-00003.gguf   the same tensors, two to a file

The last tensor fills its alignment, so cutting any byte off tiny.gguf loses data.
"""

import pathlib
import sys

import gguf
import numpy as np

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
OUT = OUT if OUT.is_dir() else OUT.parent
V = gguf.GGUFValueType
TOKENS = ["<unk>", "<s>", "</s>", "<0x0A>", "\u2581the", "\u2581cat", "s", "\u00e9"]


def add_keys(w: gguf.GGUFWriter) -> None:
    for i, (t, value) in enumerate({
        V.UINT8: 200, V.INT8: -100, V.UINT16: 60000, V.INT16: -30000, V.UINT32: 4_000_000_000,
        V.INT32: -2_000_000_000, V.FLOAT32: 0.1, V.BOOL: True, V.STRING: "h\u00e9llo\n", V.UINT64: 2**64 - 1,
        V.INT64: -(2**63), V.FLOAT64: 0.1,
    }.items()):
        w.add_key_value(f"tiny.value_{i}", value, t)
    w.add_array("tokenizer.ggml.tokens", TOKENS)
    w.add_array("tokenizer.ggml.scores", [-float(i) for i in range(len(TOKENS))])
    w.add_array("tokenizer.ggml.token_type", [2, 3, 3, 6, 1, 1, 1, 1])
    w.add_array("tiny.flags", [True, False, True])
    w.add_block_count(2)


def add_tensors(w: gguf.GGUFWriter) -> None:
    rng = np.random.default_rng(7)

    def values(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def quantized(name: str, data: np.ndarray, t: gguf.GGMLQuantizationType) -> None:
        w.add_tensor(name, gguf.quantize(data, t), raw_dtype=t)

    w.add_tensor("token_embd.weight", values(8, 32).astype(np.float16))
    w.add_tensor("blk.0.attn_norm.weight", values(9))
    quantized("blk.0.ffn_up.weight", values(3, 64), gguf.GGMLQuantizationType.Q8_0)
    quantized("blk.0.ffn_down.weight", values(2, 3, 32), gguf.GGMLQuantizationType.Q4_0)
    quantized("blk.1.ffn_up.weight", values(2, 2, 2, 8), gguf.GGMLQuantizationType.BF16)
    w.add_tensor("output.weight", values(2, 4).astype(np.float64))


def write(name: str, tensors: bool, **options: object) -> None:
    w = gguf.GGUFWriter(None, "tiny", **options)
    add_keys(w)
    if tensors:
        add_tensors(w)
    w.write_header_to_file(OUT / name)
    w.write_kv_data_to_file()
    if tensors:
        w.write_tensors_to_file()
    w.close()


write("tiny.gguf", True)
write("tiny-vocab.gguf", False)
write("tiny-big.gguf", True, endianess=gguf.GGUFEndian.BIG)
write("split.gguf", True, split_max_tensors=2)
