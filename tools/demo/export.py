"""Writing: models as GGUF (Q8_0 matrices, F32 norms), the adapter as a PEFT directory.

A llama GGUF keeps the rows of Q and K with the two halves of each rotary pair side by side, while
the training keeps them half a head apart; `interleave` is that reordering. Adapters keep the
training's order, as PEFT does: readers of both must reorder the adapter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from demo.model import Llama
from demo.vocabulary import Vocabulary

F32 = npt.NDArray[np.float32]
_Q8_0 = gguf.GGMLQuantizationType.Q8_0

# Our names of the parts of a layer, and GGUF's.
LAYER_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
MODEL_NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}


def gguf_name(name: str) -> str:
    """GGUF's name of one of our weights."""
    part = name.removesuffix(".weight")
    if part in MODEL_NAMES:
        return f"{MODEL_NAMES[part]}.weight"
    _, layer, part = part.split(".", 2)
    return f"blk.{layer}.{LAYER_NAMES[part]}.weight"


def interleave(rows: F32, heads: int) -> F32:
    """From halves (i, i + D/2) to pairs (2i, 2i + 1), head by head."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    reordered: F32 = split.swapaxes(1, 2).reshape(rows.shape)
    return reordered


def separate(rows: F32, heads: int) -> F32:
    """The inverse of `interleave`."""
    split = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    reordered: F32 = split.swapaxes(1, 2).reshape(rows.shape)
    return reordered


def heads_of(name: str, model: Llama) -> int | None:
    """How many heads the rows of a weight belong to, where they need reordering."""
    if name.endswith("q_proj.weight"):
        return model.shape.heads
    return model.shape.kv_heads if name.endswith("k_proj.weight") else None


def write_model(path: Path, model: Llama, vocabulary: Vocabulary) -> None:
    """Write one model with its vocabulary."""
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, model)
    _write_vocabulary(writer, vocabulary)
    for name, weight in model.state_dict().items():
        rows = weight.numpy()
        heads = heads_of(name, model)
        if heads is not None:
            rows = interleave(rows, heads)
        if rows.ndim == 1:
            writer.add_tensor(gguf_name(name), rows)
        else:
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(rows, _Q8_0), raw_dtype=_Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, model: Llama) -> None:
    shape = model.shape
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(shape.name)
    writer.add_license("Apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(shape.eps)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)


def _write_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.NORMAL}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([kinds[token in vocabulary.control] for token in vocabulary.tokens])
    writer.add_token_merges([f"{left} {right}" for left, right in vocabulary.merges])
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    writer.add_eot_token_id(vocabulary.end)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(vocabulary.template)


def write_adapter(folder: Path, model: Llama, rank: int, alpha: int) -> None:
    """Write the low-rank updates of a model, in PEFT's names, as f16."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, projection in model.projections():
        for part in ("lora_A", "lora_B"):
            matrix = getattr(projection, part).detach()
            tensors[f"base_model.model.model.{name}.{part}.weight"] = matrix.to(torch.float16)
    data = save(tensors, metadata={"format": "pt"})
    (folder / "adapter_model.safetensors").write_bytes(data)
    config = _adapter_config(model, rank, alpha)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / "adapter_config.json").write_text(text)


def _adapter_config(model: Llama, rank: int, alpha: int) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": model.shape.name,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted({name.split(".")[-1] for name, _ in model.projections()}),
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": None,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "inference_mode": True,
    }
