"""Adapters beside quantized weights: exact where activations are, else as near as the base itself.

The reference is llama_reference.py over the weights as they decode, with the adapters added to
them in float64.
"""

import numpy as np
import pytest

import realm_ext
from closeness import nmse
from llama_reference import LlamaReference
from support import GOLDEN
from test_forward import EXACT, INT8_BY_256, int8_budget

QUANTIZED = sorted((GOLDEN / "quant").glob("*.gguf"))
TOKENS = np.load(GOLDEN / "quant" / "oracle.npz")["tokens"]
LEAVES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def factors(path, seed, rank=4):
    """Random factors for every linear layer and the head, of about the base's size together."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, tensor in realm_ext.GGUFFile(path).tensors.items():
        if name != "output.weight" and name.split(".")[-2] not in LEAVES:
            continue
        rows, cols = tensor.shape
        arrays[f"{name}.lora_a"] = rng.normal(0, cols**-0.5, (rank, cols)).astype(np.float32)
        arrays[f"{name}.lora_b"] = rng.normal(0, 0.3, (rows, rank)).astype(np.float16)
    return arrays


def add_to(reference, arrays, scale):
    for name in reference.weights:
        if f"{name}.lora_a" not in arrays:
            continue
        a, b = (arrays[f"{name}.lora_{part}"].astype(np.float64) for part in "ab")
        reference.weights[name] = reference.weights[name] + scale * (b @ a)


def each_base(test):
    return pytest.mark.parametrize("path", QUANTIZED, ids=lambda p: p.stem)(test)


def test_the_reference_is_transformers_over_every_base():
    oracle = np.load(GOLDEN / "quant" / "oracle.npz")
    for path in QUANTIZED:
        # transformers keeps RoPE's frequencies in float32
        assert nmse(LlamaReference(path).logits(TOKENS), oracle[path.stem]) <= 1e-12


@each_base
def test_adapters_beside_quantized_weights_are_exact_with_exact_activations(path):
    model = realm_ext.Model(path, activations="f32")
    reference = LlamaReference(path)
    base = reference.logits(TOKENS)
    chosen = [("a", 1.0), ("b", -0.5)]
    for seed, (name, scale) in enumerate(chosen):
        arrays = factors(path, seed)
        model.load_adapter(name, arrays)
        add_to(reference, arrays, scale)
    wanted = reference.logits(TOKENS)
    assert nmse(base, wanted) > 0.1  # the adapters do a lot
    assert nmse(model.logits(TOKENS, chosen), wanted) <= EXACT
    assert nmse(model.logits(TOKENS, chosen, chunk=1), wanted) <= EXACT
    assert nmse(model.logits(TOKENS), base) <= EXACT


# What an adapter adds is computed exactly. The base's own rounding is within its budget for the
# base, by 2 % with some types; an adapter of a twentieth of the weights' size leaves it there. (One
# of half their size makes another function, whose errors were up to 1.2 times the budget.)
@each_base
def test_adapters_beside_8_bit_activations_stay_within_the_budget_of_the_base(path):
    model = realm_ext.Model(path)
    reference = LlamaReference(path)
    arrays, scale = factors(path, 2), 0.1
    base = reference.logits(TOKENS)
    model.load_adapter("a", arrays)
    add_to(reference, arrays, scale)
    wanted = reference.logits(TOKENS)
    assert nmse(base, wanted) > 5 * INT8_BY_256  # seen through the rounding
    for chunk in (1, 32):
        ours = model.logits(TOKENS, [("a", scale)], chunk=chunk)
        assert nmse(ours, wanted) <= int8_budget(path)
