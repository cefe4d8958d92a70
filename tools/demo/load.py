"""Reading the files back: weights are decoded from what is stored, not from what was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors.torch import load_file

from demo.export import gguf_name, heads_of, separate
from demo.model import Linear, Llama, Shape
from demo.vocabulary import Vocabulary


def _fields(reader: gguf.GGUFReader) -> dict[str, Any]:
    return {name: entry.contents() for name, entry in reader.fields.items()}


def read_model(path: Path) -> tuple[Llama, Vocabulary]:
    """Read a model and its vocabulary from one GGUF file."""
    reader = gguf.GGUFReader(path)
    fields = _fields(reader)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    model = Llama(_shape(fields, tied="output.weight" not in stored))
    weights = {}
    for name in model.state_dict():
        tensor = stored.pop(gguf_name(name))
        rows = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        heads = heads_of(name, model)
        weights[name] = torch.tensor(rows if heads is None else separate(rows, heads))
    if stored:
        raise ValueError(f"tensors that the model does not have: {sorted(stored)}")
    model.load_state_dict(weights)
    return model.requires_grad_(False), _vocabulary(fields)


def _shape(fields: dict[str, Any], tied: bool) -> Shape:
    def number(key: str) -> Any:
        return fields[f"llama.{key}"]

    return Shape(
        name=fields["general.name"],
        width=number("embedding_length"),
        layers=number("block_count"),
        heads=number("attention.head_count"),
        kv_heads=number("attention.head_count_kv"),
        feed_forward=number("feed_forward_length"),
        vocabulary=number("vocab_size"),
        tied=tied,
        context=number("context_length"),
        rope_base=number("rope.freq_base"),
        eps=number("attention.layer_norm_rms_epsilon"),
    )


def _vocabulary(fields: dict[str, Any]) -> Vocabulary:
    def entry(key: str) -> Any:
        return fields[f"tokenizer.{key}"]

    if (entry("ggml.model"), entry("ggml.pre")) != ("gpt2", "llama-bpe"):
        raise ValueError("not a llama-bpe vocabulary")
    tokens, kinds = entry("ggml.tokens"), entry("ggml.token_type")
    control = [
        token for token, kind in zip(tokens, kinds, strict=True) if kind == gguf.TokenType.CONTROL
    ]
    merges = [(left, right) for left, right in (merge.split(" ") for merge in entry("ggml.merges"))]
    return Vocabulary(tokens, merges, control, entry("chat_template"))


def read_adapter(folder: Path, model: Llama) -> None:
    """Put an adapter beside the projections of a model."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    parts: dict[str, Linear] = dict(model.projections())
    for name, projection in parts.items():
        projection.adapt(config["r"], config["lora_alpha"])
        for part in ("lora_A", "lora_B"):
            matrix = tensors.pop(f"base_model.model.model.{name}.{part}.weight")
            getattr(projection, part).data.copy_(matrix.float())
    if tensors:
        raise ValueError(f"tensors that the model does not have: {sorted(tensors)}")
    model.requires_grad_(False)
