"""Adapters give what PEFT computes: beside the weights, merged at load, and merged into a file."""

import gc
import json
import os
import threading

import numpy as np
import pytest

import realm_ext
from closeness import FLOAT_WEIGHTS, arch_model, arch_oracle, nmse, same_bits
from realm_ext.cli import main
from support import GOLDEN

ORACLES = sorted((GOLDEN / "arch").glob("*/adapters/*.npz"))
LLAMA = GOLDEN / "arch" / "llama" / "adapters"
KINDS = ("all-linear", "dora", "embed-head", "pattern", "rslora-qv")
PROMPT = "The capital of France is"


def oracle_of(path):
    """Base, adapter, tokens, and the logits of transformers with PEFT."""
    name = path.parent.parent.name
    return arch_model(name), path.with_suffix(""), arch_oracle(name)[0], np.load(path)["logits"]


def each_oracle(test):
    return pytest.mark.parametrize("path", ORACLES, ids=lambda p: f"{p.parts[-3]}-{p.stem}")(test)


def test_there_are_oracles_of_every_kind():
    assert {path.stem for path in ORACLES} == set(KINDS)
    assert len(ORACLES) >= 20


@each_oracle
def test_on_the_fly_logits_are_those_of_peft(path):
    base, adapter, sequence, logits = oracle_of(path)
    model = realm_ext.Model(base)
    report = model.load_adapter("a", adapter)
    assert not report.refused
    assert nmse(model.logits(sequence.tokens, "a"), logits) <= FLOAT_WEIGHTS
    assert nmse(sequence.logits.astype(np.float32), logits) > 1e-3  # the adapter does something
    assert sequence.nmse(model.logits(sequence.tokens)) <= FLOAT_WEIGHTS  # and to nobody else


@each_oracle
def test_merged_logits_are_those_of_peft(path, tmp_path):
    base, adapter, sequence, logits = oracle_of(path)
    merged = realm_ext.Model(base, merge=adapter).logits(sequence.tokens)
    assert nmse(merged, logits) <= FLOAT_WEIGHTS
    report = realm_ext.merge_adapter(base, adapter, tmp_path / "merged.gguf")
    assert all(tensor.relative_error == 0 for tensor in report.tensors)
    assert same_bits(realm_ext.Model(tmp_path / "merged.gguf").logits(sequence.tokens), merged)


# Of tools/make_lora_golden.py, over bases in F16.
FURTHER = sorted((GOLDEN / "lora").glob("*.npz"))
ONLY_MERGED = {"llama-saved-norms", "gemma3-saved-norms"}


@pytest.mark.parametrize("path", FURTHER, ids=lambda p: p.stem)
def test_every_kind_of_adapter_is_computed_or_refused(path):
    oracle = np.load(path)
    base, adapter = GOLDEN / "forward" / f"{oracle['base']}.gguf", path.with_suffix("")
    model = realm_ext.Model(base)
    assert nmse(model.logits(oracle["tokens"]), oracle["logits"]) > 1e-3
    merged = realm_ext.Model(base, merge=adapter, merge_dtype="F32")
    assert nmse(merged.logits(oracle["tokens"]), oracle["logits"]) <= FLOAT_WEIGHTS
    if path.stem in ONLY_MERGED:
        with pytest.raises(realm_ext.AdapterError, match="a saved norm can only be merged"):
            model.load_adapter("a", adapter)
        return
    model.load_adapter("a", adapter)
    assert nmse(model.logits(oracle["tokens"], "a"), oracle["logits"]) <= FLOAT_WEIGHTS


def test_experts_and_saved_modules_are_among_the_kinds():
    names = " ".join(path.stem for path in FURTHER)
    assert all(kind in names for kind in ("experts", "saved", "lora-bias", "dora", "gpt2"))


def demo():
    model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
    model.load_adapter("pirate", realm_ext.demo_path("adapter"))
    return model


def answer(model, adapter, n=12):
    params = realm_ext.SamplingParams(temperature=0, max_tokens=n)
    session = realm_ext.InferenceSession(model, params, adapter=adapter)
    session.prefill(PROMPT)
    return "".join(session.stream())


def test_the_demo_adapter_changes_the_answer_as_documented():
    model = demo()
    assert answer(model, None).startswith(" Paris.")
    assert answer(model, "pirate").startswith(" Paris, arr!")
    assert answer(model, [("pirate", 1.0)]) == answer(model, "pirate")
    assert answer(model, [("pirate", 0.0)]) == answer(model, None)


def test_composed_adapters_are_the_merge_of_both():
    model = realm_ext.Model(arch_model("llama"))
    for kind in KINDS:
        model.load_adapter(kind, LLAMA / kind)
    sequence, _ = arch_oracle("llama")
    for names in (
        [("all-linear", 0.5), ("dora", 1.0)],
        [("dora", 0.7), ("dora", 0.3), ("rslora-qv", -1.0)],
        [("embed-head", 2.0), ("pattern", 1.0), ("all-linear", 1.0)],
    ):
        paths = [(LLAMA / name, scale) for name, scale in names]
        merged = realm_ext.Model(arch_model("llama"), merge=paths).logits(sequence.tokens)
        assert nmse(model.logits(sequence.tokens, names), merged) <= FLOAT_WEIGHTS


def test_the_report_of_a_merge_is_what_a_recomputation_gives(tmp_path):
    base = realm_ext.demo_path("target.gguf")
    report = realm_ext.merge_adapter(base, realm_ext.demo_path("adapter"), tmp_path / "own.gguf")
    exact = realm_ext.merge_adapter(
        base, realm_ext.demo_path("adapter"), tmp_path / "f32.gguf", "F32"
    )
    ours, wanted = (realm_ext.GGUFFile(tmp_path / f"{n}.gguf") for n in ("own", "f32"))
    assert len(report.tensors) == len(exact.tensors) == 28
    for tensor in report.tensors:
        assert tensor.to_dtype == tensor.from_dtype == "Q8_0"
        x, y = (f.read(tensor.name).astype(np.float64) for f in (ours, wanted))
        rms = np.sqrt(np.mean((x - y) ** 2))
        assert tensor.rms_error == pytest.approx(rms, rel=1e-6)
        assert tensor.relative_error == pytest.approx(rms / np.sqrt(np.mean(y**2)), rel=1e-6)
        assert 0 < tensor.relative_error < 0.01
    before = realm_ext.GGUFFile(base)
    changed = {tensor.name for tensor in report.tensors}
    for name in before.tensors.keys() - changed:
        assert np.array_equal(before.raw(name), ours.raw(name))


def test_a_merged_demo_answers_like_the_adapter(tmp_path):
    realm_ext.merge_adapter(
        realm_ext.demo_path("target.gguf"), realm_ext.demo_path("adapter"), tmp_path / "m.gguf"
    )
    assert answer(realm_ext.Model(tmp_path / "m.gguf"), None).startswith(" Paris, arr!")


def engine_prompts(model):
    sets = [
        None, "pirate", [("pirate", 0.5)], [("pirate", -1.0)], [("pirate", 1.0), ("other", 0.3)],
        [("other", 1.0)], [("other", 0.3), ("pirate", 1.0)], [("pirate", 2.0)],
    ]  # fmt: skip
    model.load_adapter("other", shifted_adapter())
    return sets


def shifted_adapter(seed=3):
    """Random factors on every q and v of the demo model."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for layer in range(4):
        for leaf, rows in (("q", 256), ("v", 128)):
            module = f"model.layers.{layer}.self_attn.{leaf}_proj"
            arrays[f"{module}.lora_A.weight"] = rng.normal(0, 0.05, (4, 256)).astype(np.float32)
            arrays[f"{module}.lora_B.weight"] = rng.normal(0, 0.5, (rows, 4)).astype(np.float32)
    return arrays


def test_eight_requests_with_eight_sets_equal_their_solo_runs():
    model = demo()
    sets = engine_prompts(model)
    params = realm_ext.SamplingParams(seed=7, max_tokens=24, ignore_eos=True)
    with realm_ext.Engine(model, prefix_cache=False) as engine:
        alone = [engine.generate(PROMPT, params, adapter=a).tokens for a in sets]
        before = engine.stats().steps
        requests = [engine.submit(PROMPT, params, adapter=a) for a in sets]
        together = [request.result(60).tokens for request in requests]
        steps = engine.stats().steps - before
    assert together == alone
    assert steps < 3 * 24  # eight run in the steps of one or few
    assert len({tuple(tokens) for tokens in alone}) >= 5


def test_cached_prompts_are_never_shared_between_adapters():
    model = demo()
    params = realm_ext.SamplingParams(temperature=0, max_tokens=16, ignore_eos=True)
    prompt = PROMPT * 4  # more than a block of the cache
    choices = [None, "pirate", [("pirate", 0.3)], [("pirate", -0.7)]]
    with realm_ext.Engine(model, prefix_cache=False) as engine:
        wanted = [engine.generate(prompt, params, adapter=a).tokens for a in choices]
    with realm_ext.Engine(model) as engine:
        for _ in range(2):
            assert [engine.generate(prompt, params, adapter=a).tokens for a in choices] == wanted
        assert engine.stats().prefix_hits >= len(choices)
    assert len({tuple(tokens) for tokens in wanted}) >= 3


def test_running_requests_keep_their_generation():
    model = demo()
    params = realm_ext.SamplingParams(temperature=0, max_tokens=40, ignore_eos=True)
    with realm_ext.Engine(model, prefix_cache=False) as engine:
        wanted = engine.generate(PROMPT, params, adapter="pirate").tokens
        replaced = threading.Event()
        requests = [engine.submit(PROMPT, params, adapter="pirate") for _ in range(8)]
        model.load_adapter("pirate", shifted_adapter())
        model.unload_adapter("pirate")
        replaced.set()
        assert [request.result(60).tokens for request in requests] == [wanted] * 8
        with pytest.raises(realm_ext.InvalidRequest, match="no adapter 'pirate'"):
            engine.generate(PROMPT, params, adapter="pirate")


def test_memory_of_an_adapter_goes_with_its_last_user():
    model = demo()
    size = model.adapters["pirate"].bytes
    assert model.memory["adapters"] == size > 0
    session = realm_ext.InferenceSession(model, adapter="pirate")
    assert model.adapters["pirate"].in_use
    del session
    gc.collect()
    assert not model.adapters["pirate"].in_use
    model.unload_adapter("pirate")
    assert model.memory["adapters"] == 0


def test_a_budget_evicts_what_was_longest_without_use():
    model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
    for seed, name in enumerate("abc"):
        model.load_adapter(name, shifted_adapter(seed))
    answer(model, "a", 1)  # now b is the oldest
    model.adapter_budget = 3 * model.adapters["a"].bytes
    model.load_adapter("d", shifted_adapter(3))
    assert set(model.adapters) == {"a", "c", "d"}
    with pytest.raises(realm_ext.InvalidRequest, match="'b' was evicted"):
        answer(model, "b", 1)
    sessions = [realm_ext.InferenceSession(model, adapter=n) for n in "acd"]
    with pytest.raises(realm_ext.OutOfMemoryError, match="are in use"):
        model.load_adapter("e", shifted_adapter(4))
    assert len(sessions) == 3
    assert set(model.adapters) == {"a", "c", "d"}


def resident_bytes():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc here")
def test_a_thousand_adapters_come_and_go_beside_16_requests():
    """Names go from content to content; whoever began with one ends with it, and nothing is left."""
    model = demo()
    params = realm_ext.SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
    contents = [realm_ext.demo_path("adapter"), shifted_adapter(1), shifted_adapter(2)]
    with realm_ext.Engine(model, prefix_cache=False, max_sequences=16) as engine:
        wanted = []
        for content in contents:
            model.load_adapter("n0", content)
            wanted.append(engine.generate(PROMPT, params, adapter="n0").tokens)
        model.unload_adapter("n0")
        alone = [engine.generate(PROMPT, params, adapter=a).tokens for a in (None, "pirate")]
        assert len({tuple(tokens) for tokens in [*wanted, *alone]}) == 4  # pirate is contents[0]
        named, running, busiest = model.memory["adapters"], [], 0

        def submit(adapter, tokens):
            if len(running) == 16:
                request, expected = running.pop(0)
                assert request.result(60).tokens == expected
            running.append((engine.submit(PROMPT, params, adapter=adapter), tokens))

        for i in range(1000):
            if i == 200:
                settled = resident_bytes()
            name, which = f"n{i % 4}", i * 7 % 3
            model.load_adapter(name, contents[which])
            submit(*((name, wanted[which]), (None, alone[0]), ("pirate", alone[1]))[i % 3])
            if i % 5 == 0:
                model.unload_adapter(name)
            assert len(model.adapters) <= 5
            busiest = max(busiest, engine.stats().running)
        assert busiest >= 12
        for request, expected in running:
            assert request.result(60).tokens == expected
        running.clear()
        for i in range(4):
            model.unload_adapter(f"n{i}")
        assert model.memory["adapters"] == named
        assert resident_bytes() - settled < 4 << 20
        assert engine.stats().waiting == 0


def test_refusals_name_what_does_not_fit(tmp_path):
    model = demo()
    with pytest.raises(realm_ext.AdapterError, match="do not fit the base's") as refusal:
        model.load_adapter("x", LLAMA / "all-linear")
    assert str(refusal.value).count("lora_A") >= 14  # every module is listed
    arrays = shifted_adapter() | {"junk.weight": np.zeros(3, np.float32)}
    with pytest.raises(realm_ext.AdapterError, match=r"junk\.weight"):
        model.load_adapter("x", arrays)
    report = model.load_adapter("x", arrays, strict=False)
    assert [one.tensor for one in report.refused] == ["junk.weight"]
    assert len(report.applied) == 16


def test_bytes_arrays_and_directories_are_one_adapter():
    model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
    folder = realm_ext.demo_path("adapter")
    config = (folder / "adapter_config.json").read_text()
    data = (folder / "adapter_model.safetensors").read_bytes()
    reports = [
        model.load_adapter("a", folder),
        model.load_adapter("b", folder / "adapter_model.safetensors"),
        model.load_adapter("c", data, config=config),
        model.load_adapter("d", memoryview(data), config=json.loads(config)),
    ]
    assert len({report.content_hash for report in reports}) == 1
    assert model.load_adapter("e", data).content_hash != reports[0].content_hash  # scale 1


def test_snapshots_go_on_with_the_same_adapters_only():
    model = demo()
    params = realm_ext.SamplingParams(temperature=0, max_tokens=200, ignore_eos=True)
    with realm_ext.Engine(model) as engine:
        wanted = engine.generate(PROMPT, params, adapter="pirate").tokens
        request = engine.submit(PROMPT, params, adapter="pirate")
        snapshot = request.snapshot()
        request.cancel()
        assert engine.resume(snapshot, adapter="pirate").result(60).tokens == wanted
        with pytest.raises(realm_ext.InvalidRequest, match="must be given again"):
            engine.resume(snapshot)
        with pytest.raises(realm_ext.InvalidRequest, match="other adapters"):
            engine.resume(snapshot, adapter=[("pirate", 0.5)])


def run(capsys, *arguments):
    status = main([str(one) for one in arguments])
    return status, capsys.readouterr()


def test_the_shell_generates_through_an_adapter_and_merges_it(capsys, tmp_path):
    base, adapter = realm_ext.demo_path("target.gguf"), realm_ext.demo_path("adapter")
    greedy = ("--temperature", 0, "--max-tokens", 8, PROMPT)
    status, said = run(capsys, "generate", "--adapter", adapter, *greedy)
    assert (status, said.out) == (0, " Paris, arr!\n")
    merged = tmp_path / "merged.gguf"
    status, said = run(capsys, "merge", base, adapter, merged)
    assert status == 0
    assert "28 tensors merged (28 Q8_0), 11 copied" in said.out
    assert run(capsys, "generate", "-m", merged, *greedy)[1].out == " Paris, arr!\n"
    status, said = run(capsys, "merge", base, adapter, base)
    assert (status, "OUT is BASE" in said.err) == (2, True)
    status, said = run(capsys, "merge", base, tmp_path, merged)
    assert (status, "has no adapter_model.safetensors" in said.err) == (1, True)
    status, said = run(capsys, "merge", base, adapter, tmp_path / "q4.gguf", "--type", "Q4_0")
    assert (status, "28 Q4_0" in said.out) == (0, True)
    status, said = run(capsys, "merge", base, adapter, merged, "--type", "IQ1_S")
    assert (status, "read, not written" in said.err) == (2, True)
