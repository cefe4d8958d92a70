"""An outside opinion on text generation, for those who have llama-cpp-python installed."""

import ctypes

import numpy as np
import pytest

import realm_ext

llama_cpp = pytest.importorskip(
    "llama_cpp", reason="llama-cpp-python is an outside opinion, no part of the test extra"
)

PROMPTS = ("The capital of France is", "3 plus 4 is", "Once upon a time there was a little fox")


class Peer:
    """llama.cpp over one file, by its C API.

    Its repacked weight buffers are off: they crash with small matrices on some processors.
    """

    def __init__(self, path):
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.use_extra_bufts = False
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = 256
        self.context = llama_cpp.llama_init_from_model(self.model, context)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

    def encode(self, text):
        ids = (llama_cpp.llama_token * 256)()
        raw = text.encode()
        return ids[: llama_cpp.llama_tokenize(self.vocab, raw, len(raw), ids, 256, True, False)]

    def greedy(self, prompt, n_tokens):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        tokens = self.encode(prompt)
        step = tokens
        for _ in range(n_tokens):
            ids = (llama_cpp.llama_token * len(step))(*step)
            batch = llama_cpp.llama_batch_get_one(ids, len(step))
            assert llama_cpp.llama_decode(self.context, batch) == 0
            step = [int(np.argmax(self.logits()))]
            tokens = tokens + step
        return tokens

    def logits(self):
        row = ctypes.cast(
            llama_cpp.llama_get_logits_ith(self.context, -1), ctypes.POINTER(ctypes.c_float)
        )
        return np.ctypeslib.as_array(row, (llama_cpp.llama_vocab_n_tokens(self.vocab),))


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """The demo target in F32: llama.cpp rounds activations to 8 bits when weights have 8."""
    path = tmp_path_factory.mktemp("llama_cpp") / "target-f32.gguf"
    realm_ext.quantize_gguf(realm_ext.demo_path("target.gguf"), path, "F32", allow_requantize=True)
    return path


@pytest.fixture(scope="module")
def peer(target):
    return Peer(target)


def ours(path, prompt, n_tokens):
    params = realm_ext.SamplingParams(temperature=0, max_tokens=n_tokens, ignore_eos=True)
    with realm_ext.Model(path) as model:
        session = realm_ext.InferenceSession(model, params)
        session.prefill(prompt)
        list(session.stream())
    return session.tokens


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_demo_says_the_same_greedily_in_llama_cpp(peer, target, prompt):
    assert ours(target, prompt, 24) == peer.greedy(prompt, 24)


# With 8-bit weights both programs round activations, each in its own way: fewer tokens are certain.
@pytest.mark.parametrize(("dtype", "n_tokens"), [(None, 12), ("F32", 24)])
def test_a_merged_file_says_the_same_in_llama_cpp(target, dtype, n_tokens, tmp_path):
    merged = tmp_path / "merged.gguf"
    base = realm_ext.demo_path("target.gguf") if dtype is None else target
    report = realm_ext.merge_adapter(base, realm_ext.demo_path("adapter"), merged, dtype)
    assert {tensor.to_dtype for tensor in report.tensors} == {dtype or "Q8_0"}
    peer = Peer(merged)
    for prompt in PROMPTS:
        tokens = peer.greedy(prompt, n_tokens)
        assert ours(merged, prompt, n_tokens) == tokens
        assert ours(base, prompt, n_tokens) != tokens  # the adapter is in it
