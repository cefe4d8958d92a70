"""Small llamas whose matrices are random blocks of one weight format.

No encoder is needed: random bits are valid blocks once their scales are set. The `gguf` package
decodes them (this file does so for the two formats that it does not), and transformers computes
with what it decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers as tf
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize

Blocks = npt.NDArray[np.uint8]  # [n_blocks, bytes of a block]
Values = npt.NDArray[np.float64]
Rng = np.random.Generator


def half_at(offset: int) -> Callable[[Blocks, Values], None]:
    """Scales that are halves at one offset."""

    def put(blocks: Blocks, scales: Values) -> None:
        blocks[:, offset : offset + 2] = scales.astype("<f2").view(np.uint8).reshape(-1, 2)

    return put


def put_iq1_m(blocks: Blocks, scales: Values) -> None:
    """A half in the top nibbles of the four words at 48."""
    halves = scales.astype("<f2").view(np.uint16)[:, None]
    words = blocks[:, 48:56].copy().view(np.uint16) & 0x0FFF
    words |= (halves >> np.array([0, 4, 8, 12], np.uint16) & 15) << 12
    blocks[:, 48:56] = words.view(np.uint8)


def put_mxfp4(blocks: Blocks, scales: Values) -> None:
    """The nearest power of two."""
    blocks[:, 0] = np.round(np.log2(scales)) + 128  # the codes are doubled


def put_nvfp4(blocks: Blocks, scales: Values) -> None:
    """Four unsigned floats of four exponent bits and three mantissa bits; half the code counts."""
    exponent = np.floor(np.log2(scales)) + 1
    mantissa = np.round((scales * 2 / np.exp2(exponent) - 1) * 8)
    code = (exponent + 7) * 8 + np.minimum(mantissa, 7)
    assert ((code > 8) & (code < 0x7E)).all()
    blocks[:, :4] = code[:, None]
    blocks[:, 1] += 1  # not all four the same


def put_q8_k(blocks: Blocks, scales: Values) -> None:
    """A float, and the sums of each 16 values, which decoding does not read."""
    blocks[:, :4] = scales.astype("<f4").view(np.uint8).reshape(-1, 4)
    values = blocks[:, 4:260].view(np.int8).reshape(-1, 16, 16)
    blocks[:, 260:] = values.sum(2, dtype=np.int16).view(np.uint8).reshape(len(blocks), 32)


PUT_SCALES: dict[str, Callable[[Blocks, Values], None]] = {
    "IQ1_S": half_at(0),
    "IQ1_M": put_iq1_m,
    "IQ2_XXS": half_at(0),
    "IQ2_XS": half_at(0),
    "IQ2_S": half_at(0),
    "IQ3_XXS": half_at(0),
    "MXFP4": put_mxfp4,
    "NVFP4": put_nvfp4,
    "Q8_K": put_q8_k,
}
# The formats of our table that no other golden file has.
FORMATS = [*PUT_SCALES, "F64"]

# Attention's output and the inner feed-forward are this wide, to save room. Matrices with rows of
# that length are MXFP4 where the format's blocks are longer.
NARROW = 32


def block_of(dtype: str) -> int:
    """Elements to a block."""
    return GGML_QUANT_SIZES[GGMLQuantizationType[dtype]][0]


def decode(dtype: str, blocks: Blocks, shape: tuple[int, int]) -> Values:
    """The values of blocks."""
    if dtype == "Q8_K":
        scales = blocks[:, :4].copy().view("<f4")
        values = (scales * blocks[:, 4:260].view(np.int8)).astype(np.float32)
    else:
        values = dequantize(blocks, GGMLQuantizationType[dtype])
    return values.reshape(shape).astype(np.float64)


def random_matrix(
    dtype: str, shape: tuple[int, int], std: float, rng: Rng
) -> tuple[npt.NDArray[Any], Values]:
    """A matrix whose values deviate by about `std`: as stored, and decoded."""
    if dtype == "F64":
        # What a format of 53 bits loses in a kernel of 24 is not this file's subject.
        values = (rng.standard_normal(shape) * std).astype(np.float32).astype(np.float64)
        return values, values
    size = GGML_QUANT_SIZES[GGMLQuantizationType[dtype]][1]
    n_blocks = shape[0] * shape[1] // block_of(dtype)
    blocks = rng.integers(0, 256, (n_blocks, size), dtype=np.uint8)
    spread = np.exp2(rng.uniform(-1, 1, len(blocks)))
    probe = 0.25  # every format holds it
    PUT_SCALES[dtype](blocks, np.full(len(blocks), probe))
    PUT_SCALES[dtype](blocks, spread * probe * std / decode(dtype, blocks, shape).std())
    return blocks.reshape(shape[0], -1), decode(dtype, blocks, shape)


def config_for(dtype: str) -> tf.LlamaConfig:
    """One layer, two blocks wide."""
    return tf.LlamaConfig(
        vocab_size=64,
        hidden_size=max(32, 2 * block_of(dtype)),
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=NARROW,
        head_dim=NARROW // 2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )


def names_of(config: tf.LlamaConfig) -> dict[str, str]:
    """GGUF's names of the parameters, by transformers'."""
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
    block = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for i in range(config.num_hidden_layers):
        names |= {f"model.layers.{i}.{ours}": f"blk.{i}.{name}" for ours, name in block.items()}
    return {f"{ours}.weight": f"{name}.weight" for ours, name in names.items()}


def as_transformers(name: str, values: Values, head_width: int) -> Values:
    """GGUF interleaves the rows of Q and K by pairs; transformers has halves."""
    if not name.endswith(("attn_q.weight", "attn_k.weight")):
        return values
    pairs = values.reshape(-1, head_width // 2, 2, values.shape[1])
    return pairs.swapaxes(1, 2).reshape(values.shape)


def write_model_of(dtype: str, seed: int, path: Path) -> tf.LlamaForCausalLM:
    """Writes a model of the format and gives transformers' twin with the decoded values."""
    config = config_for(dtype)
    model = tf.LlamaForCausalLM(config).to(torch.float64).eval()
    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path, "llama")
    write_hyper_parameters(writer, config)
    names = names_of(config)
    for ours, weight in model.named_parameters():
        name = names[ours]
        if weight.ndim == 1:
            values = np.round(1024 * (1 + 0.1 * rng.standard_normal(len(weight)))) / 1024
            writer.add_tensor(name, values.astype(np.float32))
        else:
            std = 1.0 if name.startswith("token") else 1.3 / weight.shape[1] ** 0.5
            form = dtype if weight.shape[1] % block_of(dtype) == 0 else "MXFP4"
            stored, values = random_matrix(form, tuple(weight.shape), std, rng)
            raw = None if form == "F64" else GGMLQuantizationType[form]
            writer.add_tensor(name, stored, raw_dtype=raw)
            values = as_transformers(name, values, config.head_dim)
        weight.data.copy_(torch.from_numpy(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def write_hyper_parameters(writer: GGUFWriter, config: tf.LlamaConfig) -> None:
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
