"""Writes tests/golden/lora: adapters of every kind that PEFT makes, and the logits they lead to.

    python tools/make_lora_golden.py [--out FOLDER] [CASE ...]

Needs torch, transformers, peft and safetensors. The bases are models of tests/golden/forward, made
again from their seeds. Per case: NAME/, as PEFT saves it (for experts, which newer transformers fuse,
written here under the names of older ones), and NAME.npz with `base`, `tokens` and transformers'
float64 `logits`, rounded to float32.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

from forward_golden.cases import all_cases
from forward_golden.reference import logits_of, randomize, seed_of

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
LLAMA = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
GPT2 = ["c_attn", "c_fc", "attn.c_proj", "mlp.c_proj"]


@dataclass(frozen=True)
class Kind:
    """A base, and what PEFT is asked for; or experts, for which it is not asked."""

    base: str
    options: dict[str, Any]


KINDS = {
    "llama-lora-bias": Kind("llama-biases", {"target_modules": ATTENTION, "lora_bias": True}),
    "llama-biases-all": Kind("llama-biases", {"target_modules": ["q_proj", "down_proj"], "bias": "all"}),
    "llama-saved": Kind(
        "llama-biases",
        {"target_modules": ["q_proj", "up_proj"], "modules_to_save": ["lm_head", "k_proj", "embed_tokens"]},
    ),
    "llama-saved-norms": Kind(
        "llama-biases",
        {"target_modules": ["v_proj"], "modules_to_save": ["input_layernorm", "model.norm"]},
    ),
    "llama-dora-all": Kind("llama-biases", {"target_modules": LLAMA, "use_dora": True}),
    "llama-one-layer": Kind("llama-biases", {"target_modules": LLAMA, "layers_to_transform": [1]}),
    "gemma3-saved-norms": Kind(
        "gemma3-linear", {"target_modules": ["o_proj"], "modules_to_save": ["q_norm", "pre_feedforward_layernorm"]}
    ),
    "gpt2-all": Kind("gpt2", {"target_modules": GPT2, "fan_in_fan_out": True}),
    "gpt2-dora": Kind("gpt2", {"target_modules": ["c_attn", "mlp.c_proj"], "fan_in_fan_out": True, "use_dora": True}),
    "gpt2-saved": Kind("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True, "modules_to_save": ["c_fc"]}),
    "starcoder2-all": Kind("starcoder2", {"target_modules": [*ATTENTION, "c_fc", "c_proj"], "use_rslora": True}),
    "phi3-dora-fused": Kind("phi3-partial-rotary", {"target_modules": ["qkv_proj", "gate_up_proj"], "use_dora": True}),
    "qwen2moe-shared": Kind(
        "qwen2moe-ties", {"target_modules": r".*(q_proj|shared_expert\.(gate|up|down)_proj|shared_expert_gate)"}
    ),
    "qwen2moe-experts": Kind("qwen2moe-ties", {}),
    "mixtral-experts": Kind("mixtral-8-experts", {}),
}  # fmt: skip


def base_model(name: str) -> tuple[tf.PreTrainedModel, list[int]]:
    """A model of tests/golden/forward, in float64, and its first sequence."""
    case = next(case for case in all_cases() if case.name == name)
    model = case.model(case.config).to(torch.float64).eval()
    model.set_experts_implementation("eager")
    randomize(model, seed_of(name))
    if case.prepare:
        case.prepare(model)
    oracle = np.load(GOLDEN / "forward" / f"{name}.npz")
    return model, oracle["tokens_0"].tolist()


def randomize_adapter(model: torch.nn.Module) -> None:
    """Values that F32 holds exactly, large enough that every part shows."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn_like(weight)
            if "magnitude" in name:
                weight.mul_(1 + 0.1 * noise)
            elif "lora_" in name:
                weight.copy_(noise * (0.5 / weight.shape[-1] ** 0.5 if weight.ndim > 1 else 0.3))
            elif "modules_to_save" in name or (name.endswith("bias") and weight.requires_grad):
                weight.add_(noise * (0.1 if weight.ndim == 1 else 0.05))
            else:
                continue
            weight.copy_(weight.to(torch.float32))


def write_peft(name: str, kind: Kind, out: Path) -> None:
    model, tokens = base_model(kind.base)
    torch.manual_seed(seed_of(name))
    config = LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=5, **kind.options)
    adapted = get_peft_model(model, config).to(torch.float64).eval()
    randomize_adapter(adapted)
    logits = logits_of(adapted, tokens)
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    adapted.to(torch.float32).save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    clean_config(folder / "adapter_config.json", kind.base)
    np.savez_compressed(
        out / f"{name}.npz", base=kind.base, tokens=np.array(tokens, np.int32), logits=logits
    )


def clean_config(path: Path, base: str) -> None:
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = base
    for key in ("target_modules", "modules_to_save"):
        if isinstance(config[key], list):
            config[key].sort()  # PEFT keeps sets, whose order changes from run to run
    path.write_text(json.dumps(config, indent=1) + "\n")


def write_experts(name: str, kind: Kind, out: Path) -> None:
    """Factors for some experts, added to the weights by hand."""
    model, tokens = base_model(kind.base)
    torch.manual_seed(seed_of(name))
    rank, alpha, tensors = 2, 6, {}
    is_mixtral = "mixtral" in name
    module = "block_sparse_moe.experts" if is_mixtral else "mlp.experts"
    leaves = ("w1", "w3", "w2") if is_mixtral else ("gate_proj", "up_proj", "down_proj")
    with torch.no_grad():
        for layer, block in enumerate(model.model.layers):
            experts = block.mlp.experts
            width = experts.down_proj.shape[-1]
            for expert in range(0, experts.down_proj.shape[0], 2):
                gate, up = experts.gate_up_proj[expert].split(width)
                for leaf, weight in zip(leaves, (gate, up, experts.down_proj[expert]), strict=True):
                    a = (torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5).float()
                    b = (torch.randn(weight.shape[0], rank) * 0.5).float()
                    weight.add_((alpha / rank) * (b.double() @ a.double()))
                    prefix = f"base_model.model.model.layers.{layer}.{module}.{expert}.{leaf}"
                    tensors[f"{prefix}.lora_A.weight"] = a
                    tensors[f"{prefix}.lora_B.weight"] = b
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(leaves)}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
    logits = logits_of(model, tokens)
    np.savez_compressed(
        out / f"{name}.npz", base=kind.base, tokens=np.array(tokens, np.int32), logits=logits
    )


def main() -> None:
    """Writes the cases that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=GOLDEN / "lora")
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tf.logging.set_verbosity_error()
    for name, kind in KINDS.items():
        if arguments.cases and name not in arguments.cases:
            continue
        (write_peft if kind.options else write_experts)(name, kind, arguments.out)
        print(name)


if __name__ == "__main__":
    main()
