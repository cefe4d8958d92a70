"""What any device must give, on the one that REALM_BACKEND names ("cuda", "metal"; the CPU without it).

benchmarks/gpu.py runs this on a card. The bounds are those of caches in halves and of weights whose
inputs are rounded, on any device; closeness.py has those of this one.
"""

import numpy as np
import pytest

import realm_ext
from closeness import (
    ARCHITECTURES,
    DEVICE,
    EXACT,
    FORWARD_CASES,
    INT8_BY_256,
    arch_model,
    arch_oracle,
    forward_model,
    forward_oracle,
    nmse,
)
from support import GOLDEN

F16_CACHE = 1e-5
FLOATS = {"F32", "F16", "BF16", "F64"}
# From here on two experts of this one are so near that any rounding swaps them.
CLOSE_CALL = {"mixtral-8-experts": 40}
QUANTIZED = sorted((GOLDEN / "quant").glob("*.gguf"))


def load(path, **options) -> realm_ext.Model:
    """The model on the device; skips what Metal says it has no kernel for."""
    try:
        return realm_ext.Model(path, device=DEVICE, **options)
    except realm_ext.FormatError as refusal:
        if DEVICE == "metal" and "has no kernel for" in str(refusal):
            pytest.skip(str(refusal))
        raise


def is_quantized(path) -> bool:
    tensors = realm_ext.GGUFFile(path).tensors.values()
    return any(len(tensor.shape) == 2 and tensor.dtype not in FLOATS for tensor in tensors)


def test_the_device_is_the_one_that_was_asked_for():
    asked = load(arch_model("llama"))
    assert asked.core.backend.startswith(DEVICE)
    assert (
        realm_ext.Model(arch_model("llama")).core.backend == asked.core.backend
    )  # what auto means


@pytest.mark.parametrize("chunk", [512, 5])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_of_every_architecture_are_near_the_oracles(name, chunk, record_property):
    sequence, _ = arch_oracle(name)
    model = load(arch_model(name))
    error = sequence.nmse(model.logits(sequence.tokens, kv_dtype="f16", chunk=chunk))
    record_property("f16_nmse", error)
    assert error <= F16_CACHE


@pytest.mark.parametrize("case", FORWARD_CASES)
def test_logits_of_the_corners_are_near_the_oracles(case):
    model = load(forward_model(case))
    budget = INT8_BY_256 if is_quantized(forward_model(case)) else F16_CACHE
    sequence = next(forward_oracle(case))
    rows = sequence.rows < CLOSE_CALL.get(case, 10**6)
    logits = model.logits(sequence.tokens, kv_dtype="f16")[sequence.rows[rows]]
    assert nmse(logits, sequence.logits[rows]) <= budget


@pytest.mark.parametrize("path", QUANTIZED, ids=lambda p: p.stem)
def test_logits_of_quantized_weights_are_within_the_rounding_of_their_input(path, record_property):
    oracle = np.load(GOLDEN / "quant" / "oracle.npz")
    model = load(path)
    for chunk in (512, 3):
        logits = model.logits(oracle["tokens"], kv_dtype="f16", chunk=chunk)
        error = nmse(logits, oracle[path.stem])
        record_property("quant_nmse", error)
        assert error <= INT8_BY_256


@pytest.mark.parametrize("name", ["Q4_K_M", "IQ4_XS", "F16"])
def test_activations_in_f32_give_the_logits_of_the_decoded_weights(name):
    oracle = np.load(GOLDEN / "quant" / "oracle.npz")
    model = load(GOLDEN / "quant" / f"{name}.gguf", activations="f32")
    assert nmse(model.logits(oracle["tokens"]), oracle[name]) <= EXACT


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_greedy_tokens_are_the_oracles(name):
    _, greedy = arch_oracle(name)
    model = load(arch_model(name))
    greedily = realm_ext.SamplingParams(temperature=0, max_tokens=len(greedy) - 12, ignore_eos=True)
    with realm_ext.Engine(model) as engine:
        answer = engine.generate(greedy[:12].tolist(), greedily)
    assert answer.tokens == greedy[12:].tolist()


def what_came(completion):
    """An answer's tokens, and as many of its numbers as a caller can see."""
    return completion.tokens, [(one.logprob, one.top) for one in completion.logprobs]


@pytest.mark.parametrize("path", [arch_model("gemma2"), GOLDEN / "quant" / "Q4_K_M.gguf"], ids=str)
def test_a_deterministic_answer_has_the_same_bits_alone_and_in_50_random_batches(path):
    random = np.random.default_rng(3)
    model = load(path, deterministic=True)
    n_batches = 2 if "emulated" in model.core.backend else 50  # where each takes many seconds
    params = realm_ext.SamplingParams(temperature=0, max_tokens=6, logprobs=5, ignore_eos=True)
    prompt = random.integers(3, model.config.n_vocab, 21).tolist()

    def others():
        for _ in range(random.integers(1, 7)):
            yield random.integers(3, model.config.n_vocab, random.integers(1, 40)).tolist()

    with realm_ext.Engine(model, max_sequences=8, max_step_tokens=48, prefix_cache=False) as engine:
        alone = what_came(engine.generate(prompt, params))
        for _ in range(n_batches):
            company = [*others()]
            place = int(random.integers(0, len(company) + 1))
            requests = [engine.submit(p, params) for p in company[:place]]
            asked = engine.submit(prompt, params)
            requests += [engine.submit(p, params) for p in company[place:]]
            assert what_came(asked.result()) == alone
            for request in requests:
                request.result()
