"""Many requests at once: answers, endings, refusals, and what threads and signals do to them."""

import threading
import time

import numpy as np
import pytest

import realm_ext
from realm_ext import Engine, InferenceSession, SamplingParams

TARGET = realm_ext.demo_path("target.gguf")
PROMPT = "The capital of France is"
LONG = SamplingParams(max_tokens=400, ignore_eos=True, seed=1)


@pytest.fixture(scope="module")
def model():
    with realm_ext.Model(TARGET) as loaded:
        yield loaded


@pytest.fixture
def engine(model):
    with Engine(model) as made:
        yield made


def alone(model, prompt, params):
    session = InferenceSession(model, params)
    session.prefill(prompt)
    text = "".join(session.stream())
    return session.tokens, text


def test_an_answer_has_text_tokens_and_how_it_went(engine):
    done = engine.generate(PROMPT, SamplingParams(temperature=0, max_tokens=4))
    assert done.text == " Paris."
    assert len(done.tokens) == done.usage.completion_tokens == 4
    assert (done.finish_reason, done.stop_reason, done.error) == ("length", None, None)
    assert done.usage.prompt_tokens == len(engine.model.tokenizer.encode(PROMPT))
    times = done.timings
    assert 0 <= times.started <= times.first_token <= times.finished < 60


def test_each_request_of_a_crowd_gets_the_answer_it_gets_alone(model, engine):
    prompts = [
        f"{start} {word}"
        for start in ("The", "A", "Once upon a time there was a")
        for word in ("fox", "capital of Spain is", "opposite of hot is", "owl")
    ]
    params = [SamplingParams(temperature=0.8, seed=i, max_tokens=5 + 3 * i) for i in range(12)]
    requests = [engine.submit(*pair) for pair in zip(prompts, params, strict=True)]
    for prompt, param, request in zip(prompts, params, requests, strict=True):
        tokens, text = alone(model, prompt, param)
        done = request.result()
        assert done.text == text
        assert tokens[-len(done.tokens) :] == done.tokens


def test_a_list_of_prompts_gives_a_list_and_failures_stay_in_it(engine):
    params = SamplingParams(temperature=0, max_tokens=4)
    first, bad, third = engine.generate([PROMPT, "", "The capital of Spain is"], params)
    assert (first.text, third.text[:7]) == (" Paris.", " Madrid")
    assert bad.finish_reason == "error"
    assert isinstance(bad.error, realm_ext.InvalidRequest)
    ids = engine.model.tokenizer.encode(PROMPT)
    assert engine.generate(ids, params).text == " Paris."
    assert [c.text for c in engine.generate([ids, ids], params)] == [" Paris."] * 2
    assert engine.generate(np.array(ids), params).text == " Paris."


def test_messages_go_through_the_chat_template(engine):
    question = [{"role": "user", "content": "What is 3 plus 4?"}]
    done = engine.generate(messages=question, params=SamplingParams(temperature=0))
    assert done.text == "3 plus 4 is 7."
    assert done.finish_reason == "stop"
    assert isinstance(done.stop_reason, int)


def test_a_stop_string_ends_the_text_before_it_and_is_named(engine):
    params = SamplingParams(temperature=0, max_tokens=40, stop=["nope", "Europe"])
    done = engine.generate(PROMPT, params)
    assert done.text == " Paris. France is a country in "
    assert (done.finish_reason, done.stop_reason) == ("stop", "Europe")


def test_chunks_of_a_stream_join_to_the_completion(engine):
    params = SamplingParams(seed=7, max_tokens=40, logprobs=2)
    whole = engine.generate(PROMPT, params)
    chunks = list(engine.stream(PROMPT, params))
    assert "".join(c.text for c in chunks) == whole.text
    assert [t for c in chunks for t in c.tokens] == whole.tokens
    assert [one for c in chunks for one in c.logprobs or []] == whole.logprobs
    assert [c.finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].finish_reason == whole.finish_reason
    assert all(len(one.top) == 2 and one.logprob <= 0 for one in whole.logprobs)


def test_closing_a_stream_cancels_its_request(engine):
    stream = engine.stream(PROMPT, LONG)
    next(stream)
    stream.close()
    wait_until(lambda: engine.stats().active_requests == 0)
    assert engine.stats().cancelled == 1
    assert engine.stats().kv_blocks_used == 0


def test_dropping_a_stream_that_was_never_read_cancels_its_request(engine):
    stream = engine.stream(PROMPT, LONG)
    del stream
    wait_until(lambda: engine.stats().active_requests == 0)
    assert engine.stats().cancelled == 1


def test_a_cancelled_request_keeps_what_it_had(engine):
    request = engine.submit(PROMPT, LONG)
    request._core.wait()
    request.cancel()
    done = request.result(timeout=10)
    assert done.finish_reason == "cancelled"
    assert 1 <= len(done.tokens) < 400
    assert request.status == "finished"


def test_waiting_ends_in_time_and_the_request_goes_on(engine):
    request = engine.submit(PROMPT, LONG)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"has not ended after 0\.05"):
        request.result(timeout=0.05)
    assert time.monotonic() - started < 1
    assert request.result().finish_reason == "length"


def test_a_deadline_ends_the_answer_as_it_stands(engine):
    done = engine.generate(PROMPT, LONG, deadline_ms=60)
    assert done.finish_reason == "deadline"
    assert len(done.tokens) < 400


def test_refusals_are_typed_and_name_the_value(engine):
    n_vocab, n_ctx = engine.model.config.n_vocab, engine.model.config.n_ctx
    with pytest.raises(realm_ext.InvalidRequest, match="prompt is empty"):
        engine.generate("")
    with pytest.raises(realm_ext.InvalidRequest):
        engine.generate([])
    with pytest.raises(realm_ext.InvalidRequest, match=str(n_vocab)):
        engine.generate([1, n_vocab])
    with pytest.raises(realm_ext.InvalidRequest, match=str(n_ctx)):
        engine.generate([1] * (n_ctx + 1))
    with pytest.raises(realm_ext.InvalidRequest, match="not both"):
        engine.generate(PROMPT, messages=[{"role": "user", "content": "x"}])
    with pytest.raises(realm_ext.InvalidRequest, match="prompt or messages"):
        engine.generate()
    with pytest.raises(realm_ext.InvalidRequest, match="tenant is 'no spaces'"):
        engine.generate(PROMPT, tenant="no spaces")
    with pytest.raises(realm_ext.InvalidRequest, match="deadline_ms is -1"):
        engine.generate(PROMPT, deadline_ms=-1)
    with pytest.raises(realm_ext.InvalidRequest, match="integers"):
        engine.generate([1.5, 2.5])
    assert engine.generate(PROMPT, SamplingParams(temperature=0, max_tokens=4)).text == " Paris."


def test_options_that_make_no_sense_are_refused_by_name(model):
    for name, value in {"max_sequences": 0, "max_step_tokens": 0, "kv_dtype": "f8", "kv_bytes": 1,
                        "max_queue": -1, "max_wait_ms": -5}.items():  # fmt: skip
        with pytest.raises(realm_ext.RealmError, match=str(value)):
            Engine(model, **{name: value})


def test_a_full_queue_refuses_with_the_limit(model):
    with Engine(model, max_sequences=1, max_queue=2) as engine:
        running = engine.submit(PROMPT, LONG)
        running._core.wait()
        queued = [engine.submit(PROMPT, LONG) for _ in range(2)]
        with pytest.raises(realm_ext.QuotaExceeded, match="max_queue allow 3"):
            engine.submit(PROMPT, LONG)
        assert engine.stats().waiting == 2
        assert [r.status for r in queued] == ["waiting"] * 2


def test_two_tenants_share_no_cached_prompt(engine):
    ids = [1, *engine.model.tokenizer.encode(PROMPT * 8)][:64]
    params = SamplingParams(temperature=0, max_tokens=2)
    counts = [
        engine.generate(ids, params, tenant=tenant).usage.cached_tokens
        for tenant in ("alice", "alice", "bobby", None, "bobby")
    ]
    assert counts[0] == counts[2] == counts[3] == 0
    assert counts[1] == counts[4] > 0


def test_a_snapshot_resumes_to_the_same_answer_in_another_engine(model, engine):
    params = SamplingParams(seed=5, max_tokens=200, ignore_eos=True, logprobs=0)
    request = engine.submit("Once upon a time", params)
    request._core.wait()
    snapshot = request.snapshot()
    whole = request.result()
    with Engine(model) as other:
        resumed = other.resume(snapshot).result()
    assert (resumed.tokens, resumed.text) == (whole.tokens, whole.text)
    assert engine.resume(bytearray(snapshot)).result().tokens == whole.tokens
    assert resumed.logprobs == whole.logprobs
    with pytest.raises(realm_ext.FormatError):
        engine.resume(snapshot[:-1])
    with pytest.raises(realm_ext.InvalidRequest, match=r"deadline_ms is -0\.5"):
        engine.resume(snapshot, deadline_ms=-0.5)
    assert engine.resume(snapshot, deadline_ms=0.5).result().finish_reason == "deadline"
    with (
        realm_ext.Model(realm_ext.demo_path("draft.gguf")) as draft,
        Engine(draft) as stranger,
        pytest.raises(realm_ext.InvalidRequest, match="model"),
    ):
        stranger.resume(snapshot)


def test_many_threads_use_one_engine(model, engine):
    params = SamplingParams(seed=3, max_tokens=30)
    _, expected = alone(model, PROMPT, params)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(engine.generate(PROMPT, params).text))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 16


def test_an_engine_that_is_closed_ends_its_requests_and_refuses_more(model):
    engine = Engine(model)
    request = engine.submit(PROMPT, LONG)
    engine.close()
    engine.close()
    assert request.result(timeout=5).finish_reason == "cancelled"
    with pytest.raises(realm_ext.InvalidRequest, match="closed"):
        engine.submit(PROMPT)


def test_stats_count_what_was_done(engine):
    engine.generate([PROMPT] * 4, SamplingParams(temperature=0, max_tokens=8))
    stats = engine.stats()
    assert stats.total_requests == 4
    assert stats.active_requests == stats.waiting == stats.running == 0
    assert stats.tokens_generated == 32
    assert sum(stats.batch_widths) == stats.steps > 0
    assert stats.kv_blocks_used == 0 < stats.kv_blocks_total
    assert 0 < stats.time_to_first_token.quantile(0.5) <= stats.time_to_first_token.max * 1.1
    assert stats.time_to_first_token.count == 4


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"priority": 2**31}, "priority is 2147483648; must be -2147483648 to 2147483647"),
        ({"priority": 0.5}, "priority is 0.5; must be a whole number"),
        ({"adapter": 5}, "adapter is 5; must be None"),
        ({"adapter": [("style", "much")]}, "adapter is"),
    ],
)
def test_a_term_that_makes_no_sense_is_named(engine, arguments, what):
    with pytest.raises(realm_ext.InvalidRequest, match=what):
        engine.submit(PROMPT, **arguments)


@pytest.mark.parametrize("option", ["kv_bytes", "max_sequences", "max_wait_ms", "draft_kv_bytes"])
@pytest.mark.parametrize("value", [-1, 2**63, "much"])
def test_an_option_out_of_range_is_named(model, option, value):
    with pytest.raises(realm_ext.InvalidRequest, match=f"{option} (is|must)"):
        realm_ext.Engine(model, **{option: value})


def test_a_list_of_lists_of_lists_is_no_prompt(engine):
    with pytest.raises(realm_ext.InvalidRequest, match="2 levels"):
        engine.submit([[1, 2], [3, 4]])
