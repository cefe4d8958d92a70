"""Overlays: the answers of a merged model, from the base's memory and what the adapters change."""

import gc
import os
import threading

import numpy as np
import pytest

import realm_ext
from closeness import arch_model, arch_oracle, same_bits
from support import GOLDEN

DEMO, PIRATE = realm_ext.demo_path("target.gguf"), realm_ext.demo_path("adapter")
PROMPT = "The capital of France is"


def cases():
    """Bases with adapters of every kind that can be merged, and tokens."""
    for path in sorted((GOLDEN / "arch").glob("*/adapters/*.npz")):
        name = path.parent.parent.name
        yield f"{name}-{path.stem}", arch_model(name), path, arch_oracle(name)[0].tokens
    for path in sorted((GOLDEN / "lora").glob("*.npz")):
        oracle = np.load(path)
        base = GOLDEN / "forward" / f"{oracle['base']}.gguf"
        yield path.stem, base, path, oracle["tokens"]


CASES = list(cases())


@pytest.mark.parametrize(
    ("base", "adapter", "tokens"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_an_overlay_is_the_merged_model_and_leaves_its_base_alone(base, adapter, tokens):
    folder = adapter.with_suffix("")
    wanted = realm_ext.Model(base, merge=[(folder, 1.0)]).logits(tokens)
    model = realm_ext.Model(base)
    before = model.logits(tokens)
    overlay = model.overlay(folder)
    assert same_bits(overlay.logits(tokens), wanted)
    assert not same_bits(before, wanted)
    assert same_bits(model.logits(tokens), before)
    overlay.close()
    assert same_bits(model.logits(tokens), before)


def test_an_overlay_over_packed_blocks_is_the_merged_model():
    tokens = list(range(3, 40))
    for options in ({}, {"merge_dtype": "F16"}, {"merge_dtype": "Q4_0"}):
        merged = realm_ext.Model(DEMO, merge=[(PIRATE, 0.7)], **options)
        for weights in ("packed", "mapped"):
            base = realm_ext.Model(DEMO, weights=weights)
            overlay = base.overlay([(PIRATE, 0.7)], **options)
            assert same_bits(overlay.logits(tokens), merged.logits(tokens))
            ours, theirs = (
                [(t.name, t.to_dtype, t.rms_error) for t in model.merged]
                for model in (overlay, merged)
            )
            assert ours == theirs
            assert len(ours) == 28


def test_the_shell_of_an_overlay_is_its_base_s():
    base = realm_ext.Model(DEMO)
    overlay = base.overlay(PIRATE)
    assert overlay.tokenizer is base.tokenizer
    assert overlay.config.n_layers == base.config.n_layers
    assert not overlay.adapters
    overlay.load_adapter("again", PIRATE)  # has adapters of its own, beside what is merged
    assert "again" not in base.adapters
    tokens = list(range(3, 20))
    assert not same_bits(overlay.logits(tokens, "again"), overlay.logits(tokens))


def small_adapter(seed=0):
    """Factors for q and v of the demo model's first layer."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for leaf, rows in (("q", 256), ("v", 128)):
        module = f"model.layers.0.self_attn.{leaf}_proj"
        arrays[f"{module}.lora_A.weight"] = rng.normal(0, 0.05, (4, 256)).astype(np.float32)
        arrays[f"{module}.lora_B.weight"] = rng.normal(0, 0.5, (rows, 4)).astype(np.float32)
    return arrays


def test_an_overlay_owns_the_tensors_that_changed_and_no_others():
    base = realm_ext.Model(DEMO)
    overlay = base.overlay(small_adapter())
    assert [t.name for t in overlay.merged] == ["blk.0.attn_q.weight", "blk.0.attn_v.weight"]
    assert overlay.memory["weights"] == sum(t.bytes_out for t in overlay.merged)
    assert overlay.memory["weights"] < base.memory["weights"] / 20
    whole = realm_ext.Model(DEMO, merge=[(small_adapter(), 1.0)])
    assert base.memory["weights"] == whole.memory["weights"]


def resident_bytes():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc here")
def test_memory_of_overlays_is_what_they_own_and_goes_with_them():
    base = realm_ext.Model(DEMO)
    tokens = list(range(3, 12))
    base.overlay(small_adapter()).logits(tokens)  # what the first one sets up for good
    before = resident_bytes()
    overlays = [base.overlay(small_adapter(seed)) for seed in range(100)]
    owned = sum(overlay.memory["weights"] for overlay in overlays)
    grown = resident_bytes() - before
    assert 0.5 * owned < grown < 2 * owned + (4 << 20)
    assert grown < 100 * base.memory["weights"] / 8
    del overlays
    for seed in range(300):
        base.overlay(small_adapter(seed)).close()
    assert resident_bytes() - before < owned + (4 << 20)


def test_base_and_overlay_serve_requests_at_once():
    params = realm_ext.SamplingParams(seed=5, max_tokens=32, ignore_eos=True)
    base = realm_ext.Model(DEMO)
    alone = realm_ext.Engine(realm_ext.Model(DEMO)).generate(PROMPT, params).tokens
    merged = realm_ext.Model(DEMO, merge=PIRATE)
    adapted = realm_ext.Engine(merged).generate(PROMPT, params).tokens
    assert alone != adapted
    with realm_ext.Engine(base) as engine:
        first = [engine.submit(PROMPT, params) for _ in range(4)]
        overlay = base.overlay(PIRATE)  # made while the base's requests run
        with realm_ext.Engine(overlay) as other:
            requests = [(e.submit(PROMPT, params), e) for _ in range(4) for e in (engine, other)]
            for request, where in requests:
                assert request.result(60).tokens == (alone if where is engine else adapted)
        assert [request.result(60).tokens for request in first] == [alone] * 4
        overlay.close()
        assert engine.generate(PROMPT, params).tokens == alone


def test_an_overlay_outlives_its_base():
    tokens = list(range(3, 40))
    base = realm_ext.Model(DEMO)
    overlay = base.overlay(PIRATE)
    wanted = overlay.logits(tokens)
    base.close()
    del base
    gc.collect()
    assert same_bits(overlay.logits(tokens), wanted)


def test_overlays_made_at_once_are_what_they_are_alone():
    tokens = list(range(3, 20))
    base = realm_ext.Model(DEMO)
    wanted = [base.overlay(small_adapter(seed)).logits(tokens) for seed in range(4)]
    found = [None] * 4

    def make(seed):
        for _ in range(3):
            found[seed] = base.overlay(small_adapter(seed)).logits(tokens)

    threads = [threading.Thread(target=make, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same_bits(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))


def test_overlays_that_cannot_be_are_refused():
    base = realm_ext.Model(DEMO)
    before = base.logits([3, 4, 5])
    with pytest.raises(realm_ext.InvalidRequest, match="there are no adapters"):
        base.overlay([])
    with pytest.raises(realm_ext.AdapterError, match="do not fit the base's"):
        base.overlay(GOLDEN / "arch" / "llama" / "adapters" / "all-linear")
    for merged in (base.overlay(PIRATE), realm_ext.Model(DEMO, merge=PIRATE)):
        with pytest.raises(realm_ext.InvalidRequest, match="over the model without them"):
            merged.overlay(small_adapter())
    closed = realm_ext.Model(DEMO)
    closed.close()
    with pytest.raises(realm_ext.InvalidRequest, match="closed"):
        closed.overlay(PIRATE)
    assert same_bits(base.logits([3, 4, 5]), before)


def test_an_overlay_shows_its_progress_and_can_be_stopped():
    base = realm_ext.Model(DEMO)
    seen = []
    base.overlay(PIRATE, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        base.overlay(PIRATE, progress=stop)
