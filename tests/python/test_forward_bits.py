"""One answer: how a sequence is computed never changes a bit of its logits.

Chunks, threads, where the weights lie and which instruction set runs are ways to compute the same
sums in the same order; docs/numerics.md says why. Compared are bits, not numbers.
"""

import numpy as np
import pytest

import realm_ext
from closeness import arch_model, arch_oracle, forward_model, forward_oracle, same_bits
from support import GOLDEN

KV_DTYPES = ["f32", "f16", "bf16", "q8_0"]


def tokens_of_arch(name):
    return arch_oracle(name)[0].tokens


# A model each for what is computed differently: plain, per-head norms, soft caps and windows, local
# and global RoPE, scaled RoPE, fused matrices, experts with and without a shared one, LayerNorm.
MODELS = {
    "llama": (arch_model("llama"), tokens_of_arch("llama")),
    "qwen3": (arch_model("qwen3"), tokens_of_arch("qwen3")),
    "gemma2": (arch_model("gemma2"), tokens_of_arch("gemma2")),
    "qwen3moe": (arch_model("qwen3moe"), tokens_of_arch("qwen3moe")),
} | {
    name: (forward_model(name), [*forward_oracle(name)][-1].tokens)
    for name in [
        "gemma3-global-layer",
        "gpt2",
        "llama-deep-sums",
        "llama-ragged",
        "llama-yarn-long",
        "olmo3-window",
        "phi3-partial-rotary",
        "qwen2moe-ties",
        "starcoder2",
    ]
}


@pytest.fixture(params=MODELS)
def path_and_tokens(request):
    return MODELS[request.param]


def supported_levels():
    """The instruction sets that this machine has."""
    levels = []
    with pytest.MonkeyPatch.context() as patch:
        for level in [
            *["baseline", "avx2", "avx512", "avx512vnni", "amx"],
            *["neon", "dotprod", "i8mm"],
        ]:
            patch.setenv("REALM_CPU_ISA", level)
            try:
                realm_ext.Model(arch_model("llama"))
            except realm_ext.InvalidRequest:
                continue
            levels.append(level)
    return levels


LEVELS = supported_levels()


def model_on(level, path, monkeypatch):
    monkeypatch.setenv("REALM_CPU_ISA", level)
    model = realm_ext.Model(path)
    assert f"cpu {level}," in model.core.backend  # the level was taken, not passed over
    return model


def test_this_machine_has_a_level_beside_the_baseline():
    assert LEVELS[0] == "baseline"
    if len(LEVELS) == 1:
        pytest.skip("only the baseline runs here: nothing to compare it with")


@pytest.mark.parametrize("level", LEVELS[1:])
def test_every_instruction_set_gives_the_bits_of_the_baseline(path_and_tokens, level, monkeypatch):
    path, tokens = path_and_tokens
    baseline = model_on("baseline", path, monkeypatch).logits(tokens)
    assert same_bits(model_on(level, path, monkeypatch).logits(tokens), baseline)


@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("kv_dtype", KV_DTYPES[1:])
def test_every_instruction_set_reads_caches_alike(kv_dtype, level, monkeypatch):
    path, tokens = MODELS["gemma3-global-layer"]
    baseline = model_on("baseline", path, monkeypatch).logits(tokens, kv_dtype=kv_dtype)
    ours = model_on(level, path, monkeypatch).logits(tokens, kv_dtype=kv_dtype)
    assert same_bits(ours, baseline)


@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("path", sorted((GOLDEN / "quant").glob("*.gguf")), ids=lambda p: p.stem)
def test_every_instruction_set_reads_every_format_alike(path, level, monkeypatch):
    tokens = np.arange(3, 12)
    baseline = model_on("baseline", path, monkeypatch).logits(tokens)
    assert same_bits(model_on(level, path, monkeypatch).logits(tokens), baseline)


def test_chunks_of_every_size_give_the_same_bits(path_and_tokens):
    path, tokens = path_and_tokens
    model = realm_ext.Model(path)
    whole = model.logits(tokens[:64])
    for chunk in range(1, 18):
        assert same_bits(model.logits(tokens[:64], chunk=chunk), whole), chunk


@pytest.mark.parametrize("kv_dtype", KV_DTYPES)
def test_chunks_give_the_same_bits_over_every_cache(kv_dtype):
    path, tokens = MODELS["gemma2"]
    model = realm_ext.Model(path)
    whole = model.logits(tokens, kv_dtype=kv_dtype)
    for chunk in (1, 5, 16, 17):
        assert same_bits(model.logits(tokens, kv_dtype=kv_dtype, chunk=chunk), whole), chunk


def test_threads_give_the_same_bits(path_and_tokens):
    path, tokens = path_and_tokens
    alone = realm_ext.Model(path, threads=1).logits(tokens)
    for threads in (2, 3):
        assert same_bits(realm_ext.Model(path, threads=threads).logits(tokens), alone), threads


def test_weights_in_place_and_from_bytes_give_the_same_bits(path_and_tokens):
    path, tokens = path_and_tokens
    packed = realm_ext.Model(path).logits(tokens)
    assert same_bits(realm_ext.Model(path, weights="mapped").logits(tokens), packed)
    assert same_bits(realm_ext.Model(path.read_bytes()).logits(tokens), packed)
    assert same_bits(realm_ext.Model(path.read_bytes(), weights="mapped").logits(tokens), packed)


@pytest.mark.parametrize("path", sorted((GOLDEN / "quant").glob("*.gguf")), ids=lambda p: p.stem)
def test_every_format_has_the_same_bits_on_every_path(path):
    tokens = np.arange(3, 43)
    model = realm_ext.Model(path)
    whole = model.logits(tokens)
    for chunk in (1, 3, 16, 17):
        assert same_bits(model.logits(tokens, chunk=chunk), whole), chunk
    assert same_bits(realm_ext.Model(path, weights="mapped").logits(tokens), whole)
    ran = {name for name, calls in model.core.path_counts().items() if calls}
    # Many rows go over unpacked blocks, in floats or in integers.
    assert ran == {"floats"} or ran & {"slab", "integer"}


def test_what_follows_a_token_never_changes_its_logits(path_and_tokens):
    path, tokens = path_and_tokens
    model = realm_ext.Model(path)
    # Above phi3's original length of 32, where a length may change the factors.
    n = max(len(tokens) * 3 // 4, 1)
    assert same_bits(model.logits(tokens[:n]), model.logits(tokens)[:n])
    other = np.r_[tokens[:n], tokens[n:][::-1]]
    assert same_bits(model.logits(other)[:n], model.logits(tokens)[:n])


def test_a_second_run_gives_the_same_bits(path_and_tokens):
    path, tokens = path_and_tokens
    model = realm_ext.Model(path)
    assert same_bits(model.logits(tokens), model.logits(tokens))
