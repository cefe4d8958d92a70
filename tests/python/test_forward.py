"""The forward is right: other programs' logits, for every architecture and weight format.

The oracles are float64 computations by transformers over files that llama.cpp's converter and
quantizer made (tests/golden/arch and quant), and those of tools/make_forward_golden.py.
"""

import numpy as np
import pytest

import realm_ext
from closeness import (
    ARCHITECTURES,
    BF16_KV,
    DEVICE,
    EXACT,
    F16_KV,
    FLOAT_WEIGHTS,
    FORWARD_CASES,
    INT8_BY_32,
    INT8_BY_256,
    Q8_0_KV,
    Sequence,
    arch_model,
    arch_oracle,
    forward_model,
    forward_oracle,
    nmse,
)
from support import GOLDEN

BY_32 = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "MXFP4", "NVFP4"}
FLOATS = {"F32", "F16", "BF16", "F64"}


def cases_to_compare() -> dict[str, tuple[str, list[Sequence]]]:
    """Files with their sequences: one per architecture and the corners."""
    cases = {f"arch/{name}": (arch_model(name), [arch_oracle(name)[0]]) for name in ARCHITECTURES}
    return cases | {name: (forward_model(name), [*forward_oracle(name)]) for name in FORWARD_CASES}


CASES = cases_to_compare()


@pytest.fixture(params=CASES)
def path_and_sequences(request):
    """A model's file and the sequences whose logits are known."""
    return CASES[request.param]


@pytest.fixture
def case(path_and_sequences):
    """The model computing in f32 throughout, and the sequences."""
    path, sequences = path_and_sequences
    return realm_ext.Model(path, activations="f32"), sequences


def int8_budget(path) -> float:
    """How far logits may be from those of exact products, by the types of a file's matrices."""
    tensors = realm_ext.GGUFFile(path).tensors.values()
    types = {tensor.dtype for tensor in tensors if len(tensor.shape) == 2} - FLOATS
    if not types:
        return FLOAT_WEIGHTS
    by_32 = types & BY_32 and types <= BY_32 | {"Q6_K"}  # which is then the head alone
    return INT8_BY_32 if by_32 else INT8_BY_256


def test_every_architecture_of_the_table_has_an_oracle():
    declared = {
        realm_ext.GGUFFile(path).metadata["general.architecture"] for path, _ in CASES.values()
    }
    with pytest.raises(realm_ext.FormatError, match="we run") as refusal:
        realm_ext.Model(no_such_architecture())
    table = set(str(refusal.value).partition("we run ")[2].split(", "))
    assert declared == table
    assert len(table) >= 13


def no_such_architecture() -> bytes:
    text = (GOLDEN / "arch" / "llama" / "model-f32.gguf").read_bytes()
    assert text.count(b"\x05\0\0\0\0\0\0\0llama") >= 1
    return text.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lamma", 1)


def test_logits_are_those_of_transformers(case):
    model, sequences = case
    for sequence in sequences:
        assert sequence.nmse(model.logits(sequence.tokens)) <= EXACT


def test_fast_products_stay_within_the_budget_of_8_bit_activations(path_and_sequences):
    path, sequences = path_and_sequences
    model = realm_ext.Model(path)
    for sequence in sequences:
        assert sequence.nmse(model.logits(sequence.tokens)) <= int8_budget(path)
    if DEVICE == "cpu":
        assert model.core.path_counts()["reference"] == 0


def test_logits_over_a_half_precision_cache_stay_near(case):
    model, sequences = case
    for sequence in sequences:
        error = sequence.nmse(model.logits(sequence.tokens, kv_dtype="f16"))
        assert EXACT < error <= F16_KV  # the cache really is of halves


@pytest.mark.parametrize(("kv_dtype", "budget"), [("bf16", BF16_KV), ("q8_0", Q8_0_KV)])
def test_smaller_caches_cost_what_their_rounding_costs(kv_dtype, budget):
    model = realm_ext.Model(arch_model("llama"))
    sequence, _ = arch_oracle("llama")
    assert F16_KV < sequence.nmse(model.logits(sequence.tokens, kv_dtype=kv_dtype)) <= budget


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_greedy_tokens_are_those_of_transformers(name):
    model = realm_ext.Model(arch_model(name))
    _, greedy = arch_oracle(name)
    tokens = [int(token) for token in greedy[:12]]
    while len(tokens) < len(greedy):
        tokens.append(int(model.logits(tokens, rows="last").argmax()))
    assert tokens == greedy.tolist()


@pytest.mark.parametrize("path", sorted((GOLDEN / "quant").glob("*.gguf")), ids=lambda p: p.stem)
def test_logits_of_quantized_weights_are_those_of_the_decoded_weights(path):
    oracle = np.load(GOLDEN / "quant" / "oracle.npz")
    model = realm_ext.Model(path, activations="f32")
    assert nmse(model.logits(oracle["tokens"]), oracle[path.stem]) <= EXACT
    fast = realm_ext.Model(path)
    assert nmse(fast.logits(oracle["tokens"]), oracle[path.stem]) <= int8_budget(path)
    for chunk, paths in [
        (1, {"fused", "tail", "floats"}),
        (32, {"slab", "integer", "tail", "floats"}),
    ]:
        assert nmse(fast.logits(oracle["tokens"], chunk=chunk), oracle[path.stem]) <= int8_budget(
            path
        )
        if DEVICE != "cpu":
            continue
        ran = {name for name, calls in fast.core.path_counts().items() if calls}
        assert ran & paths
        assert "reference" not in ran


def test_an_unknown_kind_of_activations_is_refused():
    with pytest.raises(realm_ext.InvalidRequest, match="activations is 'int4'"):
        realm_ext.Model(arch_model("llama"), activations="int4")


def test_every_weight_format_is_among_the_files():
    files = [*(GOLDEN / "quant").glob("*.gguf"), *(path for path, _ in CASES.values())]
    matrices = {
        tensor.dtype
        for path in files
        for tensor in realm_ext.GGUFFile(path).tensors.values()
        if len(tensor.shape) == 2
    }
    assert {form.name for form in realm_ext.formats()} <= matrices


def test_last_row_is_the_last_of_all_rows(case):
    model, sequences = case
    tokens = sequences[0].tokens
    assert np.array_equal(model.logits(tokens, rows="last"), model.logits(tokens)[-1])
