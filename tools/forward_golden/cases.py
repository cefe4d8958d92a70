"""The architectures and the corners of them that the golden files of the forward cover.

Each case is a transformers model of random weights, as small as its subject allows. What a case is
for stands beside it; a comment gives the number that makes it bite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import transformers as tf

VOCABULARY = 96
LONG = {"max_position_embeddings": 512}


@dataclass(frozen=True)
class Case:
    """A model and the sequences that it is asked about."""

    name: str
    model: type[tf.PreTrainedModel]
    config: tf.PretrainedConfig
    lengths: tuple[int, ...] = (24,)  # of the sequences, each with tokens of its own
    prepare: Callable[[tf.PreTrainedModel], None] | None = None  # edits the random weights
    declared: dict[str, int] = field(default_factory=dict)  # what the converter leaves out


def sizes(**changes: Any) -> dict[str, Any]:
    """A model of two narrow layers, and what differs from it."""
    narrow: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return narrow | changes


def llama(name: str, lengths: tuple[int, ...] = (24,), **changes: Any) -> Case:
    """A llama with untied heads, unless `changes` says otherwise."""
    config = tf.LlamaConfig(**sizes(**({"tie_word_embeddings": False} | changes)))
    return Case(name, tf.LlamaForCausalLM, config, lengths)


def llama_of_head_width(width: int) -> Case:
    """Two heads over one, so wide that they do not fit the embedding."""
    return llama(
        f"llama-heads-{width}",
        head_dim=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )


def rope_cases() -> list[Case]:
    """Scaled RoPE past the length that the scaling starts from."""
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    llama3 = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    linear = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    # Wider bands and a magnitude of its own.
    tuned = yarn | {"factor": 8.0, "beta_fast": 4.0, "beta_slow": 0.5, "attention_factor": 1.1}
    # Wide heads, so that yarn's bands have pairs in them.
    wide = LONG | {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
    return [
        llama("llama-yarn-long", (300,), rope_parameters=yarn | {"factor": 8.0}, **wide),
        llama("llama-yarn-tuned", (300,), rope_parameters=tuned, **wide),
        llama("llama3-rope-long", (300,), rope_parameters=llama3, tie_word_embeddings=True, **wide),
        llama("llama-linear", (300,), rope_parameters=linear, **LONG),
    ]


def window_cases() -> list[Case]:
    """Sequences several times as long as the sliding window."""
    gemma = sizes(
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=8,
    )
    # Seven layers: 0 to 4 and 6 are local, 5 is global.
    gemma3 = tf.Gemma3TextConfig(**(gemma | {"num_hidden_layers": 7, "intermediate_size": 48}))
    # Caps low enough to bend what random weights score.
    gemma2 = tf.Gemma2Config(**gemma, attn_logit_softcapping=2.0, final_logit_softcapping=10.0)
    linear = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    }
    gemma3_linear = tf.Gemma3TextConfig(
        **(gemma | {"num_hidden_layers": 6, "intermediate_size": 32}), rope_parameters=linear
    )
    yarn = {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    # Olmo3 is olmo2 with windows, which every fourth layer lacks; only that one is scaled.
    olmo3 = tf.Olmo3Config(**sizes(num_hidden_layers=4, sliding_window=8), rope_parameters=yarn)
    mistral = tf.MistralConfig(**sizes(sliding_window=8))
    return [
        Case("gemma3-global-layer", tf.Gemma3ForCausalLM, gemma3, (40,)),
        Case("gemma3-linear", tf.Gemma3ForCausalLM, gemma3_linear, (40,)),
        Case("gemma2-window", tf.Gemma2ForCausalLM, gemma2, (40,)),
        Case("olmo3-window", tf.Olmo3ForCausalLM, olmo3, (48,)),
        # The converter gives a mistral the architecture llama and drops its window.
        Case(
            "mistral-window",
            tf.MistralForCausalLM,
            mistral,
            (40,),
            declared={"attention.sliding_window": 8},
        ),
    ]


def phi3_cases() -> list[Case]:
    """Long and short factors: 24 tokens are below the original length of 32, 64 are above."""

    def phi3(name: str, rotated: float) -> Case:
        pairs = int(16 * rotated) // 2
        longrope = {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0 + 0.05 * i for i in range(pairs)],
            "long_factor": [1.5 + 0.5 * i for i in range(pairs)],
            "partial_rotary_factor": rotated,
        }
        config = tf.Phi3Config(
            **sizes(num_attention_heads=2),
            rope_parameters=longrope,
            original_max_position_embeddings=32,
            sliding_window=None,
            tie_word_embeddings=False,
        )
        return Case(name, tf.Phi3ForCausalLM, config, (24, 64))

    return [phi3("phi3-longrope", 1.0), phi3("phi3-partial-rotary", 0.5)]


def expert_cases() -> list[Case]:
    """Mixtures whose routing has ties, and one with many experts."""
    mixtral = tf.MixtralConfig(
        **sizes(intermediate_size=32),
        num_local_experts=8,
        num_experts_per_tok=2,
        sliding_window=None,
    )
    qwen2moe = tf.Qwen2MoeConfig(
        **sizes(),
        num_experts=6,
        num_experts_per_tok=3,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=48,
        decoder_sparse_step=1,
    )
    return [
        Case("mixtral-8-experts", tf.MixtralForCausalLM, mixtral),
        Case("qwen2moe-ties", tf.Qwen2MoeForCausalLM, qwen2moe, prepare=tie_experts),
    ]


def tie_experts(model: tf.PreTrainedModel) -> None:
    """Gives pairs of experts the same router row: at three of six, every choice has a tie."""
    for name, weight in model.named_parameters():
        if name.endswith("mlp.gate.weight"):
            weight.data[1::2] = weight.data[0::2]


def layer_norm_cases() -> list[Case]:
    """LayerNorm with bias, biases everywhere, an ungated feed-forward, learned positions."""
    starcoder2 = tf.Starcoder2Config(**sizes(sliding_window=None))
    gpt2 = tf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_ctx=64
    )
    return [
        Case("starcoder2", tf.Starcoder2ForCausalLM, starcoder2),
        Case("gpt2", tf.GPT2LMHeadModel, gpt2),
    ]


def all_cases() -> list[Case]:
    """Every case, by name."""
    granite = tf.GraniteConfig(
        **sizes(tie_word_embeddings=False),
        embedding_multiplier=3.0,
        logits_scaling=2.0,
        residual_multiplier=0.7,
        attention_multiplier=0.2,
    )
    qwen2 = tf.Qwen2Config(**sizes(tie_word_embeddings=False))
    # No extent but the head width is a multiple of 8, and the vocabulary is odd.
    ragged = {
        "vocab_size": 97,
        "hidden_size": 36,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "intermediate_size": 37,
    }
    return [
        llama("llama-biases", attention_bias=True, mlp_bias=True),
        llama("llama-ragged", **ragged),
        llama("llama-deep-sums", num_hidden_layers=1, intermediate_size=600),
        *(llama_of_head_width(width) for width in (64, 80, 96, 128)),
        *rope_cases(),
        *window_cases(),
        *phi3_cases(),
        *expert_cases(),
        *layer_norm_cases(),
        Case("granite-untied", tf.GraniteForCausalLM, granite),
        Case("qwen2-untied", tf.Qwen2ForCausalLM, qwen2),
    ]
