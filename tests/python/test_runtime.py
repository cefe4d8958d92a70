"""Runtimes: models, adapters and tenants come and go; nothing of one tenant reaches another."""

import asyncio
import re
import threading
import time

import pytest

import realm_ext
from realm_ext import ModelSpec, Quota, SamplingParams
from support import GOLDEN

TARGET, DRAFT = realm_ext.demo_path("target.gguf"), realm_ext.demo_path("draft.gguf")
PIRATE = realm_ext.demo_path("adapter")
GREEDY = SamplingParams(temperature=0, max_tokens=12)
LONG = SamplingParams(max_tokens=300, ignore_eos=True, seed=1)
FRANCE = "The capital of France is"


@pytest.fixture(scope="module")
def runtime():
    with realm_ext.Runtime(threads=2) as runtime:
        runtime.load_model(ModelSpec("demo", TARGET, DRAFT))
        runtime.load_lora_adapter("pirate", PIRATE, "demo")
        yield runtime


@pytest.fixture
def tenant(runtime, request):
    """A tenant with a name of its own, released in the end."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", request.node.name)[-64:]
    yield runtime.get_or_create(name, "demo")
    runtime.release(name)


# ---- answers


def test_a_tenant_answers_as_an_engine_does(tenant):
    with realm_ext.Engine(realm_ext.Model(TARGET)) as engine:
        expected = engine.generate([FRANCE, "Once upon"], GREEDY)
    got = tenant.generate([FRANCE, "Once upon"], GREEDY)
    assert [one.tokens for one in got] == [one.tokens for one in expected]
    assert "".join(chunk.text for chunk in tenant.stream(FRANCE, GREEDY)) == expected[0].text
    assert tenant.submit(FRANCE, GREEDY).result().tokens == expected[0].tokens
    answer = tenant.generate(messages=[{"role": "user", "content": "Who are you?"}], params=GREEDY)
    assert answer.text


def test_an_event_loop_can_use_tenants(tenant):
    async def main():
        whole = await tenant.agenerate(FRANCE, GREEDY)
        pieces = [chunk.text async for chunk in tenant.astream(FRANCE, GREEDY)]
        return whole.text, "".join(pieces)

    whole, streamed = asyncio.run(main())
    assert whole == streamed


def test_a_snapshot_goes_on_in_its_tenant(tenant):
    request = tenant.submit("Once upon a time", LONG)
    saved = request.snapshot()
    assert tenant.resume(saved).result().tokens == request.result().tokens


def test_the_draft_guesses_for_all_who_do_not_say_no(tenant):
    assert tenant.generate(FRANCE, LONG).speculation.drafted > 0
    assert tenant.generate(FRANCE, LONG, speculative=False).speculation.status == "off"


def test_a_tenants_defaults_are_used_and_kept_within_its_quota(runtime):
    small = runtime.get_or_create("small", "demo", quota=Quota(max_tokens=5))
    assert small.sampling.max_tokens == 5
    assert small.generate(FRANCE).usage.completion_tokens <= 5
    with pytest.raises(realm_ext.InvalidRequest, match="max_tokens 9, its quota allows 5"):
        runtime.get_or_create(
            "other", "demo", quota=Quota(max_tokens=5), sampling=SamplingParams(max_tokens=9)
        )
    runtime.release("small")


# ---- adapters


def test_an_adapter_set_for_a_tenant_is_that_of_its_next_request(runtime, tenant):
    plain = tenant.generate(FRANCE, GREEDY).tokens
    runtime.set_tenant_lora_adapter(tenant.id, "pirate")
    pirate = tenant.generate(FRANCE, GREEDY).tokens
    assert pirate != plain
    assert tenant.generate(FRANCE, GREEDY, adapter=[]).tokens == plain
    runtime.set_tenant_lora_adapter(tenant.id, None)
    assert tenant.generate(FRANCE, GREEDY).tokens == plain
    assert tenant.generate(FRANCE, GREEDY, adapter="pirate").tokens == pirate


def test_an_adapter_may_be_set_before_tenant_and_model_are_there(runtime):
    with realm_ext.Runtime(threads=2) as fresh:
        assert fresh.load_lora_adapter("pirate", PIRATE, "later") is None
        assert fresh.list_adapters()["pirate"].report is None
        fresh.set_tenant_lora_adapter("early", "pirate")
        fresh.load_model(ModelSpec("later", TARGET))
        assert len(fresh.list_adapters()["pirate"].report.applied) == 56
        early = fresh.get_or_create("early", "later")
        assert early.adapter_id == "pirate"
        other = runtime.get_or_create("witness", "demo")
        expected = other.generate(FRANCE, GREEDY, adapter="pirate").tokens
        assert early.generate(FRANCE, GREEDY).tokens == expected
    runtime.release("witness")


def test_an_unknown_adapter_is_refused_and_changes_nothing(runtime, tenant):
    runtime.set_tenant_lora_adapter(tenant.id, "pirate")
    with pytest.raises(realm_ext.InvalidRequest, match="'nobody' is not loaded"):
        runtime.set_tenant_lora_adapter(tenant.id, "nobody")
    assert tenant.adapter_id == "pirate"


def test_an_unloaded_adapter_is_not_silently_the_base(runtime, tenant):
    runtime.load_lora_adapter("brief", PIRATE, "demo")
    runtime.set_tenant_lora_adapter(tenant.id, "brief")
    runtime.unload_lora_adapter("brief")
    with pytest.raises(realm_ext.InvalidRequest, match="brief"):
        tenant.generate(FRANCE, GREEDY)
    runtime.set_tenant_lora_adapter(tenant.id, None)
    assert tenant.generate(FRANCE, GREEDY).tokens


def test_an_adapter_above_the_quota_is_refused_when_it_is_set(runtime):
    poor = runtime.get_or_create("poor", "demo", quota=Quota(adapter_bytes=1000))
    with pytest.raises(realm_ext.QuotaExceeded) as caught:
        runtime.set_tenant_lora_adapter("poor", "pirate")
    size = runtime.list_adapters()["pirate"].bytes
    assert (caught.value.quota, caught.value.limit, caught.value.value) == (
        "adapter_bytes",
        1000,
        size,
    )
    with pytest.raises(realm_ext.QuotaExceeded):
        poor.generate(FRANCE, GREEDY, adapter="pirate")
    runtime.release("poor")


# ---- quotas


def test_a_refusal_says_which_limit_and_by_how_much(runtime):
    quota = Quota(concurrent_requests=1, queued_requests=1, tokens_per_minute=700)
    busy = runtime.get_or_create("busy", "demo", quota=quota)
    held = [busy.submit("Once upon a time", LONG) for _ in range(2)]
    with pytest.raises(realm_ext.QuotaExceeded, match="'busy': queued_requests allows 1") as caught:
        busy.submit("Once upon a time", LONG)
    assert (caught.value.quota, caught.value.limit, caught.value.value) == ("queued_requests", 1, 2)
    for request in held:
        request.cancel()
        request.wait()
    whole_context = LONG.replace(max_tokens=2000)
    held = busy.submit("Once upon a time", whole_context)
    with pytest.raises(realm_ext.QuotaExceeded) as caught:
        busy.submit("Once upon a time", whole_context)
    held.cancel()
    assert caught.value.quota == "tokens_per_minute"
    assert caught.value.limit == 700
    assert busy.stats().refused == 2

    runtime.release("busy")


def test_a_living_tenant_keeps_its_terms(runtime, tenant):
    assert runtime.get_or_create(tenant.id, "demo").weight == 1
    for terms in ({"quota": Quota(max_tokens=9)}, {"weight": 2.0}, {"sampling": GREEDY}):
        with pytest.raises(realm_ext.InvalidRequest, match=f"another {next(iter(terms))}"):
            runtime.get_or_create(tenant.id, "demo", **terms)


@pytest.mark.parametrize("name", ["ab", "x" * 65, "with space", "ümlaut", "a/b", ""])
def test_tenant_ids_are_checked(runtime, name):
    with pytest.raises(realm_ext.InvalidRequest, match="must be 3 to 64"):
        runtime.get_or_create(name, "demo")


# ---- coming and going


def test_a_released_tenants_requests_are_cancelled_and_its_handle_is_dead(runtime):
    gone = runtime.get_or_create("gone", "demo")
    requests = [gone.submit("Once upon a time", LONG) for _ in range(5)]
    runtime.release("gone")
    assert {request.result().finish_reason for request in requests} <= {"cancelled", "length"}
    assert gone.stats().cancelled >= 1
    with pytest.raises(realm_ext.InvalidRequest, match="released"):
        gone.generate(FRANCE, GREEDY)
    with pytest.raises(realm_ext.InvalidRequest, match="not there"):
        runtime.release("gone")
    again = runtime.get_or_create("gone", "demo")
    assert again.generate(FRANCE, GREEDY).tokens
    assert again.stats().total_requests == 1
    runtime.release("gone")


def test_unloading_a_model_ends_what_runs_on_it_and_nothing_else(runtime, tenant):
    runtime.load_model(ModelSpec("second", TARGET))
    doomed = runtime.get_or_create("doomed", "second")
    requests = [doomed.submit("Once upon a time", LONG) for _ in range(4)]
    spared = tenant.submit("Once upon a time", LONG)
    runtime.unload_model("second")
    assert {request.result().finish_reason for request in requests} <= {"cancelled", "length"}
    assert spared.result().finish_reason == "length"
    with pytest.raises(realm_ext.InvalidRequest, match="'second' is not loaded"):
        runtime.get_or_create("doomed", "second")
    with pytest.raises(realm_ext.InvalidRequest):
        doomed.generate(FRANCE, GREEDY)


def test_ids_that_are_taken_are_refused(runtime):
    with pytest.raises(realm_ext.InvalidRequest, match="'demo' is taken"):
        runtime.load_model(ModelSpec("demo", TARGET))
    with pytest.raises(realm_ext.InvalidRequest, match="is the draft of 'demo'"):
        runtime.unload_model("demo_draft")


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"draft_model_path": "no such file"}, FileNotFoundError),
        ({"draft_model_path": __file__}, realm_ext.FormatError),
        ({"draft_model_id": "nobody"}, realm_ext.InvalidRequest),
        ({"draft_model_id": "broken"}, realm_ext.InvalidRequest),
    ],
)
def test_a_draft_that_fails_leaves_nothing_half_loaded(runtime, spec, error):
    before = set(runtime.list_models())
    with pytest.raises(error):
        runtime.load_model(ModelSpec("broken", TARGET, **spec))
    assert set(runtime.list_models()) == before


def test_a_draft_with_other_tokens_is_refused(runtime):
    with pytest.raises(realm_ext.InvalidRequest):
        runtime.load_model(ModelSpec("broken", TARGET, GOLDEN / "arch/llama/model-f32.gguf"))
    assert "broken" not in runtime.list_models()
    assert "broken_draft" not in runtime.list_models()


def test_models_and_drafts_come_from_memory_in_any_order():
    with realm_ext.Runtime(threads=2) as runtime:
        runtime.store_draft_model(DRAFT.read_bytes(), "first")
        runtime.store_model(TARGET.read_bytes(), "first")
        runtime.store_model(memoryview(TARGET.read_bytes()), "second")
        runtime.store_draft_model(DRAFT.read_bytes(), "second")
        for name in ("first", "second"):
            tenant = runtime.get_or_create("acme", name)
            assert tenant.generate(FRANCE, LONG).speculation.drafted > 0
        runtime.store_model(TARGET.read_bytes(), "third")
        runtime.get_or_create("acme", "third")
        with pytest.raises(realm_ext.InvalidRequest, match="before the first"):
            runtime.store_draft_model(DRAFT.read_bytes(), "third")
        runtime.unload_model("first")
        assert set(runtime.list_models()) == {"second", "second_draft", "third"}


def test_models_can_share_a_draft():
    with realm_ext.Runtime(threads=2) as runtime:
        runtime.load_model(ModelSpec("one", TARGET, DRAFT, "small"))
        runtime.load_model(ModelSpec("two", TARGET, draft_model_id="small"))
        runtime.unload_model("one")
        assert runtime.get_or_create("acme", "two").generate(FRANCE, LONG).speculation.drafted > 0
        runtime.unload_model("two")
        assert runtime.list_models() == {}


def test_a_runtime_can_be_closed_from_any_thread_while_it_serves():
    runtime = realm_ext.Runtime(threads=2)
    runtime.load_model(ModelSpec("demo", TARGET))
    tenants = [runtime.get_or_create(f"tenant-{i}", "demo") for i in range(3)]
    requests = [tenant.submit("Once upon a time", LONG) for tenant in tenants for _ in range(4)]
    threads = [threading.Thread(target=runtime.close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {request.result().finish_reason for request in requests} <= {"cancelled", "length"}
    for call in (lambda: runtime.get_or_create("acme", "demo"), runtime.metrics):
        with pytest.raises(realm_ext.InvalidRequest, match="closed"):
            call()
    runtime.close()


def test_ids_can_be_loaded_and_unloaded_by_many_threads_at_once():
    problems = []

    def load_and_use(runtime, i):
        try:
            for _ in range(3):
                runtime.load_model(ModelSpec(f"model-{i}", TARGET))
                tenant = runtime.get_or_create("acme", f"model-{i}")
                assert tenant.generate(FRANCE, GREEDY).text.startswith(" Paris")
                runtime.unload_model(f"model-{i}")
        except Exception as error:
            problems.append(error)

    with realm_ext.Runtime(threads=1) as runtime:
        threads = [threading.Thread(target=load_and_use, args=(runtime, i)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems
        assert runtime.list_models() == {}


# ---- figures


def families_of(text):
    """Parses the text form as strictly as its description is written: {name: (type, samples)}."""
    families = {}
    label = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
    line = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{{{label}(?:,{label})*\}})? (\S+)")
    for text_line in text.removesuffix("\n").split("\n"):
        if text_line.startswith("# HELP "):
            name = text_line.split(" ", 3)[2]
            assert name not in families
            families[name] = ["", {}]
        elif text_line.startswith("# TYPE "):
            families[text_line.split(" ")[2]][0] = text_line.split(" ")[3]
        else:
            name, labels, value = line.fullmatch(text_line).groups()
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            owner = families[family if family in families else name][1]
            assert (name, labels) not in owner
            owner[name, labels] = float(value)
    return families


def test_the_text_and_the_dict_have_the_same_figures(runtime, tenant):
    tenant.generate(FRANCE, GREEDY)
    text, figures = runtime.metrics(), runtime.stats()
    families = families_of(text)
    assert set(families) == set(figures)
    key = f'{{tenant="{tenant.id}",model="demo"}}'
    got = families["realm_tenant_generated_tokens_total"][1]
    assert got["realm_tenant_generated_tokens_total", key] == tenant.stats().tokens_generated
    for name, (kind, samples) in families.items():
        assert kind == figures[name]["type"]
        assert kind == "histogram" or len(samples) == len(figures[name]["samples"])


def test_buckets_are_cumulative_and_end_in_the_count(runtime, tenant):
    tenant.generate([FRANCE] * 5, GREEDY)
    figures = runtime.stats()
    for name in ("queue_wait", "time_to_first_token", "inter_token_latency"):
        ((_labels, value),) = [
            sample
            for sample in figures[f"realm_{name}_seconds"]["samples"]
            if sample[0]["model"] == "demo"
        ]
        bounds = [bound for bound, _ in value["buckets"]]
        counts = [count for _, count in value["buckets"]]
        assert bounds == sorted(bounds)
        assert counts == sorted(counts)
        assert 0 < counts[-1] <= value["count"]
        assert value["sum"] > 0
    buckets = families_of(runtime.metrics())["realm_queue_wait_seconds"][1]
    last = buckets["realm_queue_wait_seconds_bucket", '{model="demo",le="+Inf"}']
    assert last == buckets["realm_queue_wait_seconds_count", '{model="demo"}']


def test_labels_are_escaped():
    name = 'a "model" with \\ and ünïcode'
    with realm_ext.Runtime(threads=1) as runtime:
        runtime.load_model(ModelSpec(name, TARGET))
        samples = families_of(runtime.metrics())["realm_requests_total"][1]
        assert ("realm_requests_total", '{model="a \\"model\\" with \\\\ and ünïcode"}') in samples
        with pytest.raises(realm_ext.InvalidRequest, match="control characters"):
            runtime.load_model(ModelSpec("two\nlines", TARGET))


def test_metrics_are_quick_beside_a_thousand_tenants():
    with realm_ext.Runtime(threads=1) as runtime:
        runtime.load_model(ModelSpec("demo", TARGET))
        for i in range(1000):
            runtime.get_or_create(f"tenant-{i}", "demo")
        start = time.perf_counter()
        assert runtime.metrics().count('tenant="tenant-999"') == 22
        assert time.perf_counter() - start < 2
