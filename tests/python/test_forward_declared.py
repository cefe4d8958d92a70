"""What a file declares changes the answer: no hyper-parameter is read and then forgotten.

Each golden file is rewritten with one value changed; its logits must leave the oracle's. This also
shows that the oracles notice.
"""

import numpy as np
import pytest

import realm_ext
from closeness import FLOAT_WEIGHTS, arch_model, arch_oracle, forward_oracle
from drafts import ABSENT, Draft, loaded

# A changed value moves the logits at least so far; rounding moves them by 1e-13.
NOTICED = 1e-6

# Of a golden file, a key without the architecture's prefix and another value.
CHANGES = [
    ("gemma2-window", "attention.sliding_window", 9),
    ("gemma2-window", "attention.sliding_window_pattern", 3),
    ("gemma2-window", "attn_logit_softcapping", 1e30),
    ("gemma2-window", "final_logit_softcapping", 1e30),
    ("gemma3-global-layer", "attention.sliding_window", 7),
    ("gemma3-global-layer", "attention.sliding_window_pattern", 5),
    ("gemma3-global-layer", "attention.sliding_window", 0),
    ("gemma3-global-layer", "rope.freq_base", 1e5),
    ("gemma3-global-layer", "rope.freq_base_swa", 2e4),
    ("gemma3-linear", "rope.scaling.factor", 4.0),
    ("gpt2", "attention.layer_norm_epsilon", 0.1),
    ("granite-untied", "attention.scale", 0.25),
    ("granite-untied", "embedding_scale", 2.0),
    ("granite-untied", "logit_scale", 3.0),
    ("granite-untied", "residual_scale", 1.0),
    ("llama-biases", "attention.layer_norm_rms_epsilon", 0.1),
    ("llama-biases", "rope.freq_base", 2e4),
    ("llama-biases", "rope.scaling.attn_factor", 1.5),
    ("llama-linear", "rope.scaling.factor", 2.0),
    ("llama-linear", "rope.scaling.type", "none"),
    ("llama-yarn-long", "rope.scaling.factor", 4.0),
    ("llama-yarn-long", "rope.scaling.original_context_length", 128),
    ("llama-yarn-long", "rope.scaling.type", "linear"),
    ("llama-yarn-tuned", "rope.scaling.attn_factor", 1.5),
    ("llama-yarn-tuned", "rope.scaling.yarn_attn_factor", ABSENT),
    ("llama-yarn-tuned", "rope.scaling.yarn_beta_fast", 32.0),
    ("llama-yarn-tuned", "rope.scaling.yarn_beta_slow", 1.0),
    ("mistral-window", "attention.sliding_window", 9),
    ("mistral-window", "attention.sliding_window", ABSENT),
    ("mixtral-8-experts", "expert_used_count", 3),
    ("olmo3-window", "attention.sliding_window_pattern", [True, False, True, False]),
    ("olmo3-window", "attention.sliding_window_pattern", 2),
    ("olmo3-window", "rope.freq_base_swa", 2e4),
    ("olmo3-window", "rope.scaling.factor", 2.0),
    ("phi3-longrope", "rope.scaling.attn_factor", 1.0),
    ("phi3-longrope", "rope.scaling.original_context_length", 256),
    ("phi3-partial-rotary", "rope.freq_base", 2e4),
    ("qwen2moe-ties", "expert_used_count", 2),
    ("starcoder2", "attention.layer_norm_epsilon", 0.1),
]

# And some that say what the file said before, in other words.
SYNONYMS = [
    ("gemma2-window", "attention.sliding_window_pattern", [True, False]),
    ("gemma3-global-layer", "attention.sliding_window_pattern", 6),
    ("gemma3-global-layer", "attention.sliding_window_pattern", [True] * 5 + [False, True]),
    ("gemma3-global-layer", "rope.freq_base_swa", 1e4),
    ("llama-biases", "attention.sliding_window", 0),
    ("llama-biases", "attention.sliding_window", 24),
    ("llama-biases", "rope.scaling.type", "none"),
    ("llama-linear", "rope.scaling.type", ABSENT),
    ("olmo3-window", "attention.sliding_window_pattern", ABSENT),
    ("olmo3-window", "attention.sliding_window_pattern", 4),
    ("llama-yarn-long", "rope.scaling.yarn_beta_fast", 32.0),
    ("llama-yarn-long", "rope.scaling.yarn_attn_factor", 1 + 0.1 * np.log(8)),
]


def distance(model, case):
    return max(sequence.nmse(model.logits(sequence.tokens)) for sequence in forward_oracle(case))


@pytest.mark.parametrize(("case", "key", "value"), CHANGES)
def test_another_value_gives_another_answer(case, key, value, tmp_path):
    model = loaded(Draft(case).declare(key, value), tmp_path)
    assert distance(model, case) > NOTICED


@pytest.mark.parametrize(("case", "key", "value"), SYNONYMS)
def test_the_same_in_other_words_gives_the_same_answer(case, key, value, tmp_path):
    model = loaded(Draft(case).declare(key, value), tmp_path)
    assert distance(model, case) <= FLOAT_WEIGHTS


def test_the_old_key_of_linear_scaling_means_the_same(tmp_path):
    draft = Draft("llama-linear").declare("rope.scaling.type", ABSENT)
    draft.declare("rope.scaling.factor", ABSENT).declare("rope.scale_linear", 4.0)
    assert distance(loaded(draft, tmp_path), "llama-linear") <= FLOAT_WEIGHTS


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "llama", "smollm3"])
def test_positions_matter_in_every_rotary_architecture(name):
    sequence, _ = arch_oracle(name)
    model = realm_ext.Model(arch_model(name))
    swapped = sequence.tokens.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    assert sequence.nmse(model.logits(swapped)) > NOTICED
