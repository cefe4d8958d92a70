"""A file that cannot be computed is refused at load, by a message that names field and value.

The files are golden ones with one thing spoiled.
"""

import re

import numpy as np
import pytest

import realm_ext
from drafts import ABSENT, Draft, loaded

# One golden file per kind of block.
CASES = [
    "gemma2-window",
    "gemma3-global-layer",
    "gpt2",
    "granite-untied",
    "llama-biases",
    "mixtral-8-experts",
    "olmo3-window",
    "phi3-longrope",
    "qwen2moe-ties",
    "starcoder2",
]

SIZES = [
    "block_count",
    "embedding_length",
    "context_length",
    "feed_forward_length",
    "attention.head_count",
]
RMS = [*SIZES, "attention.layer_norm_rms_epsilon"]
LAYER_NORM = [*SIZES, "attention.layer_norm_epsilon"]
# What no model can be computed without. Other keys have a value that the format defines.
REQUIRED = {
    "gemma2-window": [
        *RMS,
        "attention.sliding_window",
        "attn_logit_softcapping",
        "final_logit_softcapping",
    ],
    "gemma3-global-layer": RMS,
    "gpt2": LAYER_NORM,
    "granite-untied": [*RMS, "embedding_scale", "residual_scale", "logit_scale"],
    "llama-biases": RMS,
    "llama-linear": [*RMS, "rope.scaling.factor"],
    "llama-yarn-long": [*RMS, "rope.scaling.factor", "rope.scaling.original_context_length"],
    "mixtral-8-experts": [*RMS, "expert_used_count"],
    "qwen2moe-ties": [*RMS, "expert_count", "expert_used_count"],
    "starcoder2": LAYER_NORM,
}


def assert_refused(draft, folder, *words):
    """Loading fails with a FormatError whose message has each of the words."""
    path = draft.save(folder)
    with pytest.raises(realm_ext.FormatError) as refusal:
        realm_ext.Model(path)
    for word in words:
        assert str(word) in str(refusal.value)


@pytest.mark.parametrize("case", CASES)
def test_an_unspoiled_draft_loads_and_computes(case, tmp_path):
    assert np.isfinite(loaded(Draft(case), tmp_path).logits([3, 4])).all()


# ---- metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "lamma", "LLAMA", "llama\0", "mamba", "a" * 5000])
def test_an_unknown_architecture_is_named_and_the_known_ones_listed(name, tmp_path):
    draft = Draft("llama-biases").declare("general.architecture", name)
    assert_refused(draft, tmp_path, "general.architecture", name[:5], "starcoder2")


@pytest.mark.parametrize("value", [ABSENT, 1, 1.5, True, ["llama"]])
def test_an_architecture_that_is_no_text_is_refused(value, tmp_path):
    draft = Draft("llama-biases").declare("general.architecture", value)
    assert_refused(draft, tmp_path, "general.architecture")


@pytest.mark.parametrize("kind", ["adapter", "mmproj", "imatrix", "vocab", "", 3])
def test_files_that_are_no_models_are_refused(kind, tmp_path):
    draft = Draft("llama-biases").declare("general.type", kind)
    assert_refused(draft, tmp_path, "general.type", kind)


@pytest.mark.parametrize(
    ("case", "key"), [(c, key) for c, keys in REQUIRED.items() for key in keys]
)
def test_each_missing_hyper_parameter_is_named(case, key, tmp_path):
    draft = Draft(case).declare(key, ABSENT)
    if key == "rope.scaling.factor":
        assert draft.metadata[draft.key("rope.scaling.type")] in ("linear", "yarn")
    assert_refused(draft, tmp_path, draft.key(key), "missing")


# A key of an integer, and values that cannot be computed with.
BAD_INTEGERS = [
    ("block_count", [0, -1, 1025, 2**31, 2**32 - 1]),
    ("embedding_length", [0, -1, 2**20 + 1]),
    ("context_length", [0, -1, 2**31]),
    ("feed_forward_length", [0, -1, 2**20 + 1]),
    ("attention.head_count", [0, -1, 4097]),
    ("attention.head_count_kv", [0, -1, 3, 8, 4097]),
    ("attention.key_length", [0, -1, 513, 2**20]),
    ("attention.value_length", [0, 7, 16, 2**32 - 1]),
    ("attention.sliding_window", [-1, 2**31]),
    ("rope.dimension_count", [-1, 3, 7, 9, 64]),
    ("rope.scaling.original_context_length", [0, -1, 2**31]),
]
NOT_INTEGERS = ["32", 32.0, True, [32], [32, 32], [], ["32"]]


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, bad in BAD_INTEGERS for value in [*bad, *NOT_INTEGERS]],
)
def test_an_integer_that_cannot_be_computed_with_is_refused(key, value, tmp_path):
    draft = Draft("llama-biases").declare(key, value)
    shown = value if isinstance(value, int) and value is not True else ""
    assert_refused(draft, tmp_path, draft.key(key), shown)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("attention.head_count", 6, "llama.attention.head_count is 6: must divide the embedding"),
        (
            "attention.head_count_kv",
            3,
            "llama.attention.head_count_kv is 3: must divide the 4 heads",
        ),
        ("attention.key_length", 513, "llama.attention.key_length is 513: must be one integer"),
        ("attention.value_length", 16, "llama.attention.value_length is 16: must equal the key"),
        ("rope.dimension_count", 7, "llama.rope.dimension_count is 7: rotates 7 elements"),
        ("vocab_size", 95, "llama.vocab_size is 95: token_embd.weight has 96 rows"),
        # A size that is right by itself is noticed at the first tensor that has another.
        (
            "attention.head_count",
            2,
            "'blk.0.attn_k.weight' has shape [16, 32]; this model needs [32",
        ),
        (
            "attention.key_length",
            16,
            "'blk.0.attn_q.weight' has shape [32, 32]; this model needs [64",
        ),
        ("block_count", 3, "'blk.2.attn_norm.weight' is missing"),
        (
            "embedding_length",
            64,
            "'token_embd.weight' has shape [96, 32]; this model needs [96, 64]",
        ),
        (
            "feed_forward_length",
            65,
            "'blk.0.ffn_gate.weight' has shape [64, 32]; this model needs [65",
        ),
    ],
)
def test_the_message_says_what_disagrees(key, value, message, tmp_path):
    draft = Draft("llama-biases")
    draft.declare("attention.key_length", ABSENT).declare("attention.value_length", ABSENT)
    assert_refused(draft.declare(key, value), tmp_path, message)


POSITIVE = [
    ("llama-biases", "attention.layer_norm_rms_epsilon"),
    ("llama-biases", "rope.freq_base"),
    ("llama-biases", "attention.scale"),
    ("llama-biases", "rope.scaling.attn_factor"),
    ("llama-linear", "rope.scaling.factor"),
    ("llama-yarn-tuned", "rope.scaling.yarn_attn_factor"),
    ("llama-yarn-tuned", "rope.scaling.yarn_beta_fast"),
    ("llama-yarn-tuned", "rope.scaling.yarn_beta_slow"),
    ("gemma2-window", "attn_logit_softcapping"),
    ("gemma2-window", "final_logit_softcapping"),
    ("gemma3-global-layer", "rope.freq_base_swa"),
    ("gpt2", "attention.layer_norm_epsilon"),
    ("granite-untied", "embedding_scale"),
    ("granite-untied", "residual_scale"),
    ("granite-untied", "logit_scale"),
]
NOT_POSITIVE = [0.0, -0.0, -1e-5, np.nan, np.inf, -np.inf, 0, -1, "1", True, [1.0], 1e-60, 1e60]


@pytest.mark.parametrize(("case", "key"), POSITIVE)
@pytest.mark.parametrize("value", NOT_POSITIVE)
def test_a_number_that_must_be_positive_and_finite_is(case, key, value, tmp_path):
    if value in (1e-60, 1e60):
        value = np.float64(value)  # a number, but none in f32
    draft = Draft(case).declare(key, value)
    assert_refused(draft, tmp_path, draft.key(key), "positive, finite number")


@pytest.mark.parametrize("value", ["", "su", "dynamic", "Linear", 1, ["yarn"]])
def test_an_unknown_rope_scaling_is_refused(value, tmp_path):
    draft = Draft("llama-linear").declare("rope.scaling.type", value)
    assert_refused(draft, tmp_path, "llama.rope.scaling.type")


@pytest.mark.parametrize("value", [False, 0, "no"])
def test_attention_to_what_comes_later_is_refused(value, tmp_path):
    draft = Draft("llama-linear").declare("attention.causal", value)
    assert_refused(draft, tmp_path, "llama.attention.causal", "looks back only")


@pytest.mark.parametrize("value", [[], [True] * 5, [True] * 7, [1] * 6, ["a"] * 6, "6", 6.0, -1])
def test_a_window_pattern_has_a_flag_for_each_layer(value, tmp_path):
    draft = Draft("gemma3-linear").declare("attention.sliding_window_pattern", value)
    assert_refused(draft, tmp_path, "gemma3.attention.sliding_window_pattern")


def test_a_vocabulary_that_disagrees_with_the_embedding_is_refused(tmp_path):
    draft = Draft("llama-biases").declare("tokenizer.ggml.model", "llama")
    draft.declare("tokenizer.ggml.tokens", [f"t{i}" for i in range(95)])
    assert_refused(draft, tmp_path, "tokenizer.ggml.tokens has 95", "96 rows")


@pytest.mark.parametrize(
    ("case", "key", "value"),
    [
        ("mixtral-8-experts", "expert_count", 7),
        ("mixtral-8-experts", "expert_count", 9),
        ("mixtral-8-experts", "expert_count", 1025),
        ("mixtral-8-experts", "expert_count", -1),
        ("mixtral-8-experts", "expert_used_count", 0),
        ("mixtral-8-experts", "expert_used_count", 9),
        ("mixtral-8-experts", "expert_feed_forward_length", 33),
        ("qwen2moe-ties", "expert_count", 0),
        ("qwen2moe-ties", "expert_used_count", 7),
        ("qwen2moe-ties", "expert_feed_forward_length", 0),
        ("qwen2moe-ties", "expert_shared_feed_forward_length", 47),
        ("gemma2-window", "expert_count", 2),
    ],
)
def test_expert_counts_that_cannot_be_are_refused(case, key, value, tmp_path):
    assert_refused(Draft(case).declare(key, value), tmp_path, value)


def test_experts_in_an_architecture_with_none_declared_are_superfluous(tmp_path):
    draft = Draft("mixtral-8-experts").declare("expert_count", ABSENT)
    assert_refused(draft, tmp_path, "blk.0.ffn_gate.weight")


@pytest.mark.parametrize("key", ["feed_forward_length", "attention.head_count_kv"])
@pytest.mark.parametrize("n", [1, 2, 600])
def test_a_value_per_layer_is_refused(key, n, tmp_path):
    draft = Draft("llama-biases")
    value = draft.metadata[draft.key(key)]
    assert_refused(draft.declare(key, [value] * n), tmp_path, draft.key(key), "array")


# ---- tensors -------------------------------------------------------------------------------------


def tensor_names(case, keep=lambda name: True):
    return [(case, name) for name in Draft(case).tensors if keep(name)]


def is_needed(name):
    """The head may be absent: the embedding is one. Factors are an option, and so are biases."""
    return not name.endswith(".bias") and name not in ("output.weight", *ROPE_FACTORS)


ROPE_FACTORS = ["rope_factors_long.weight", "rope_factors_short.weight"]


@pytest.mark.parametrize(
    ("case", "name"), [pair for case in CASES for pair in tensor_names(case, is_needed)]
)
def test_each_missing_tensor_is_named(case, name, tmp_path):
    draft = Draft(case)
    del draft.tensors[name]
    assert_refused(draft, tmp_path, name, "missing")


def is_bias(name):
    return name.endswith(".bias")


@pytest.mark.parametrize(
    ("case", "name"),
    [
        pair
        for case in ("gpt2", "qwen2-untied", "qwen2moe-ties", "starcoder2")
        for pair in tensor_names(case, is_bias)
    ],
)
def test_a_bias_that_is_part_of_the_architecture_is_no_option(case, name, tmp_path):
    draft = Draft(case)
    del draft.tensors[name]
    assert_refused(draft, tmp_path, name, "missing")


@pytest.mark.parametrize(("case", "name"), [pair for case in CASES for pair in tensor_names(case)])
def test_each_tensor_of_another_shape_is_named(case, name, tmp_path):
    draft = Draft(case)
    shape = draft.shape(name)
    for axis in range(len(shape)):
        other = tuple(n + (i == axis) for i, n in enumerate(shape))
        draft.tensors[name] = np.ones(other, np.float32)
        if name == "token_embd.weight" and axis == 0:
            assert_refused(draft, tmp_path, f"{other[0]} rows")
        else:
            assert_refused(draft, tmp_path, name, list(other))


def test_a_matrix_laid_out_as_another_of_the_same_size_is_refused(tmp_path):
    draft = Draft("llama-biases")
    draft.tensors["blk.0.ffn_up.weight"] = draft.values("blk.0.ffn_up.weight").T.copy()
    assert_refused(draft, tmp_path, "blk.0.ffn_up.weight", "[32, 64]", "[64, 32]")


@pytest.mark.parametrize("shape", [(4, 64, 32), (256, 32), (1, 256, 32), (32, 8, 32)])
def test_experts_cut_differently_are_refused(shape, tmp_path):
    draft = Draft("mixtral-8-experts")
    name = "blk.0.ffn_up_exps.weight"
    draft.tensors[name] = draft.values(name).reshape(shape)
    assert_refused(draft, tmp_path, name, list(shape), "[8, 32, 32]")


@pytest.mark.parametrize(
    ("case", "name", "shape"),
    [
        # llama.cpp's quantizer drops it, its converter does not.
        ("qwen2moe-ties", "blk.0.ffn_gate_inp_shexp.weight", (32,)),
        ("llama-biases", "blk.0.attn_norm.weight", (1, 32)),
        ("llama-biases", "blk.0.attn_q.weight", (1, 32, 32)),
    ],
)
def test_an_outermost_extent_of_one_may_be_there_or_not(case, name, shape, tmp_path):
    draft = Draft(case)
    expected = loaded(draft, tmp_path).logits([3, 4])
    draft.tensors[name] = draft.values(name).reshape(shape)
    assert np.array_equal(loaded(draft, tmp_path).logits([3, 4]), expected)


@pytest.mark.parametrize("name", ["blk.0.attn_qkv.weight", "blk.2.attn_norm.weight", "x", "output"])
def test_a_tensor_without_a_place_is_refused(name, tmp_path):
    draft = Draft("llama-biases")
    draft.tensors[name] = np.ones(32, np.float32)
    assert_refused(draft, tmp_path, name, "no place")


@pytest.mark.parametrize("missing", ROPE_FACTORS)
def test_long_and_short_factors_come_together(missing, tmp_path):
    draft = Draft("phi3-longrope")
    del draft.tensors[missing]
    assert_refused(draft, tmp_path, *ROPE_FACTORS, "only together")


def test_longrope_without_factors_is_refused(tmp_path):
    draft = Draft("llama-biases").declare("rope.scaling.type", "longrope")
    assert_refused(draft, tmp_path, "longrope", "rope_factors_long.weight")


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_rope_factor_that_is_not_positive_and_finite_is_refused(value, tmp_path):
    draft = Draft("phi3-longrope")
    draft.values("rope_factors_short.weight")[1] = value
    assert_refused(draft, tmp_path, "rope_factors_short.weight")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("case", "name"),
    [
        pair
        for case in ("gemma2-window", "llama-biases", "starcoder2")
        for pair in tensor_names(case, lambda name: "norm" in name or name.endswith(".bias"))
    ],
)
def test_a_vector_with_a_number_that_is_none_is_refused(case, name, value, tmp_path):
    draft = Draft(case)
    draft.values(name)[5] = value
    assert_refused(draft, tmp_path, name, "element 5", str(value))


def is_matrix(name):
    return "norm" not in name and not name.endswith(".bias")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("case", "name"),
    [
        pair
        for case in ("gemma2-window", "gpt2", "llama-biases", "phi3-longrope", "qwen2moe-ties")
        for pair in tensor_names(case, is_matrix)
        if "rope_factors" not in pair[1]
    ],
)
def test_a_matrix_with_a_number_that_is_none_never_gives_one(case, name, value, tmp_path):
    draft = Draft(case)
    # One element; of experts all, since a token sees few of them.
    draft.values(name)[(1, 5) if case != "qwen2moe-ties" else ...] = value
    model = loaded(draft, tmp_path)
    with pytest.raises(realm_ext.FormatError, match="NaN"):
        model.logits([1, 4, 5])


# ---- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([], "no tokens"),
        ([-1], "token id -1 .* vocabulary of 96"),
        ([3, 96], "token id 96 .* vocabulary of 96"),
        ([3, 2**31 - 1], "token id 2147483647"),
        ([3] * 129, "129 tokens.* context is 128"),
        ([[3, 4]], "one-dimensional"),
        (3, "one-dimensional"),
    ],
)
def test_tokens_that_no_sequence_can_have_are_refused(tokens, words, tmp_path):
    model = loaded(Draft("llama-biases"), tmp_path)
    with pytest.raises(realm_ext.InvalidRequest, match=words):
        model.logits(tokens)
    assert np.isfinite(model.logits([3])).all()


@pytest.mark.parametrize(
    "tokens", [[3.5], ["3"], [None], [2**32 + 3], np.array([2**32 + 3]), np.array([3.0]), [True]]
)
def test_tokens_that_are_no_integers_are_never_rounded_into_some(tokens, tmp_path):
    model = loaded(Draft("llama-biases"), tmp_path)
    with pytest.raises((realm_ext.InvalidRequest, TypeError, ValueError, OverflowError)):
        model.logits(tokens)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": "some"}, "rows is 'some'"),
        ({"kv_dtype": "f64"}, "kv_dtype is 'f64'"),
        ({"chunk": 0}, "0 rows"),
        ({"chunk": -1}, "-1 rows"),
    ],
)
def test_options_out_of_range_are_named(options, words, tmp_path):
    model = loaded(Draft("llama-biases"), tmp_path)
    with pytest.raises(realm_ext.InvalidRequest, match=re.escape(words)):
        model.logits([3], **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": "lazy"}, "weights is 'lazy'"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": -2}, "threads is -2"),
    ],
)
def test_ways_to_load_that_do_not_exist_are_named(options, words, tmp_path):
    path = Draft("llama-biases").save(tmp_path)
    with pytest.raises(realm_ext.InvalidRequest, match=re.escape(words)):
        realm_ext.Model(path, **options)
