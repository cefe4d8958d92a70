"""Tokens guessed ahead: the same answers, drafters of every kind and what happens when they fail."""

import threading
import time

import pytest

import realm_ext
from realm_ext import Engine, InferenceSession, SamplingParams, SpeculativeConfig
from support import GOLDEN

DRAFT = realm_ext.demo_path("draft.gguf")
PROMPT = "The capital of France is"
PARAMS = SamplingParams(max_tokens=60, ignore_eos=True, seed=1)


@pytest.fixture(scope="module")
def model():
    with realm_ext.Model(realm_ext.demo_path("target.gguf")) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def draft():
    with realm_ext.Model(DRAFT) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def engine(model, draft):
    with Engine(model, draft) as made:
        yield made


@pytest.mark.parametrize("temperature", [0, 0.5, 1, 2])
@pytest.mark.parametrize("drafter", ["model", "ngram", lambda tokens, n: [int(tokens[-1])] * n])
def test_the_answer_is_the_plain_one(engine, temperature, drafter):
    params = PARAMS.replace(temperature=temperature)
    plain = engine.generate(PROMPT, params, speculative=False)
    config = SpeculativeConfig(drafter=drafter, draft_k=5, adaptive=False)
    guessed = engine.generate(PROMPT, params, speculative=config)
    assert (guessed.tokens, guessed.text) == (plain.tokens, plain.text)
    assert plain.speculation.status == "off"
    assert guessed.speculation.status.startswith("on")


def test_a_draft_model_is_used_unless_a_request_says_no(engine):
    before = engine.stats()
    done = engine.generate(PROMPT, PARAMS.replace(temperature=0))
    report, stats = done.speculation, engine.stats()
    assert report.accepted > 10
    assert report.tokens == report.accepted + report.verifications
    assert report.tokens_per_verification == report.tokens / report.verifications
    assert sum(report.accepted_at) == report.accepted
    assert all(0 <= share <= 1 for share in report.acceptance)
    assert max(report.k_history) <= 8
    assert report.draft_seconds > 0
    assert report.verify_seconds > 0
    assert stats.accepted_tokens - before.accepted_tokens == report.accepted
    assert stats.draft_tokens - before.draft_tokens == report.drafted
    assert stats.verifications - before.verifications == report.verifications
    assert stats.draft_blocks_used == 0 < stats.draft_blocks_total


def test_without_a_draft_model_or_options_nothing_is_guessed(model):
    with Engine(model) as engine:
        assert engine.generate(PROMPT, PARAMS).speculation.status == "off"
        with pytest.raises(realm_ext.InvalidRequest, match="has none"):
            engine.generate(PROMPT, PARAMS, speculative=SpeculativeConfig())


def test_options_of_the_engine_hold_for_its_requests(model):
    with Engine(model, speculative=SpeculativeConfig(drafter="ngram")) as engine:
        assert engine.generate(PROMPT, PARAMS).speculation.status.startswith("on")
        assert engine.generate(PROMPT, PARAMS, speculative=False).speculation.status == "off"


def test_a_function_sees_the_tokens_and_a_right_one_saves_passes(engine):
    params = PARAMS.replace(temperature=1)
    plain = engine.generate(PROMPT, params, speculative=False)
    prompt = engine.model.tokenizer.encode(PROMPT)
    answer = [*prompt, *plain.tokens]
    seen = []

    def look_up(tokens, n):
        seen.append(tokens.tolist())
        return answer[len(tokens) : len(tokens) + n]

    config = SpeculativeConfig(drafter=look_up, draft_k=4, adaptive=False)
    done = engine.generate(PROMPT, params, speculative=config)
    assert done.tokens == plain.tokens
    assert done.speculation.accepted == done.speculation.drafted
    assert done.speculation.verifications == 12
    assert all(tokens == answer[: len(tokens)] for tokens in seen)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda tokens, n: 1 / 0, "ZeroDivisionError"),
        (lambda tokens, n: "tokens", "TypeError"),
        (lambda tokens, n: [10**6], "not in the vocabulary"),
        (lambda tokens, n: time.sleep(0.5), "took longer than 50 ms"),
    ],
)
def test_a_function_that_fails_leaves_its_request_plain(engine, function, why):
    plain = engine.generate(PROMPT, PARAMS, speculative=False)
    config = SpeculativeConfig(drafter=function, draft_timeout_ms=50)
    done = engine.generate(PROMPT, PARAMS, speculative=config)
    assert done.tokens == plain.tokens
    assert done.speculation.status.startswith("failed: ")
    assert why in done.speculation.status


def test_a_function_that_hangs_holds_up_nobody(model):
    gate = threading.Event()
    config = SpeculativeConfig(drafter=lambda tokens, n: gate.wait() or [], draft_timeout_ms=20)
    with Engine(model) as engine:
        requests = [engine.submit(PROMPT, PARAMS, speculative=config) for _ in range(4)]
        plain = engine.generate(PROMPT, PARAMS)
        for request in requests:
            done = request.result(30)
            assert done.tokens == plain.tokens
            assert done.speculation.status.startswith("failed: ")
    gate.set()


def test_a_draft_model_that_cannot_be_loaded_leaves_requests_plain(model, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing else")
    plain = alone(model)
    with Engine(model, broken) as engine:
        done = engine.generate(PROMPT, PARAMS)
        assert done.tokens == plain
        assert done.speculation.status.startswith("failed: the draft model could not be loaded")
    with Engine(model, DRAFT) as engine:
        assert engine.generate(PROMPT, PARAMS).speculation.status.startswith("on")


def test_another_vocabulary_makes_no_pair(model):
    with realm_ext.Model(GOLDEN / "arch" / "llama" / "model-f32.gguf") as other:
        with pytest.raises(realm_ext.InvalidRequest, match="vocabulary"):
            Engine(model, other)
        with pytest.raises(realm_ext.InvalidRequest, match="vocabulary"):
            InferenceSession(model, PARAMS, other)


def test_nonsense_is_refused_by_name():
    for options, name in [
        ({"draft_k": -1}, "draft_k"),
        ({"draft_k": 9}, "draft_k"),
        ({"max_draft_tokens": 99}, "max_draft_tokens"),
        ({"method": "guess"}, "method"),
        ({"drafter": "oracle"}, "drafter"),
        ({"draft_timeout_ms": 0}, "draft_timeout_ms"),
        ({"drafter": "ngram", "draft_adapter": "x"}, "draft_adapter"),
    ]:
        with pytest.raises(realm_ext.InvalidRequest, match=name):
            SpeculativeConfig(**options)


def test_options_are_values():
    config = SpeculativeConfig(method="rejection", draft_k=2)
    assert config == SpeculativeConfig(method="rejection", draft_k=2)
    assert config != SpeculativeConfig()
    assert (config.draft_k, config.max_draft_tokens, config.adaptive) == (2, 8, True)
    assert (config.drafter, config.method, config.draft_adapter) == ("model", "rejection", None)
    assert "method='rejection'" in repr(config)


def test_a_session_guesses_with_the_same_answer(model, draft):
    plain = alone(model)
    session = InferenceSession(model, PARAMS, draft)
    session.prefill(PROMPT)
    tokens = list(iter(session.next_token, None))
    assert tokens == plain
    assert session.speculation.drafted > 0
    by_copy = InferenceSession(model, PARAMS, speculative=SpeculativeConfig(drafter="ngram"))
    by_copy.prefill(PROMPT)
    assert list(iter(by_copy.next_token, None)) == plain


def test_rejection_gives_an_answer_of_its_own(engine):
    config = SpeculativeConfig(method="rejection", draft_k=3, adaptive=False)
    params = PARAMS.replace(temperature=1)
    done = engine.generate(PROMPT, params, speculative=config)
    assert len(done.tokens) == 60
    assert done.tokens == engine.generate(PROMPT, params, speculative=config).tokens
    greedy = params.replace(temperature=0)
    assert (
        engine.generate(PROMPT, greedy, speculative=config).tokens
        == engine.generate(PROMPT, greedy, speculative=False).tokens
    )


def alone(model):
    session = InferenceSession(model, PARAMS)
    session.prefill(PROMPT)
    return list(iter(session.next_token, None))
