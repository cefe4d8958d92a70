#include "model/config.h"

#include <cmath>

#include "base/error.h"
#include "model/hyper_parameters.h"

namespace realm {

namespace {

constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxWidth = 1 << 20;  // of embeddings and feed-forward
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadWidth = 512;  // what attention kernels hold in registers and stack
constexpr int64_t kMaxExperts = 1024;
constexpr int64_t kMaxContext =
    INT32_MAX;  // positions are 32-bit; nothing is allocated from this number

const Architecture& architecture_of(const gguf::Metadata& metadata) {
  const gguf::Value* value = metadata.find("general.architecture");
  if (!value || !value->text())
    fail(ErrorCode::kFormat, "general.architecture is missing or not a text");
  const Architecture* row = find_architecture(*value->text());
  if (!row) {
    std::string known;
    for (const Architecture& one : all_architectures())
      known += concat(known.empty() ? "" : ", ", one.name);
    fail(ErrorCode::kFormat, "general.architecture is ", quoted(*value->text()), "; we run ",
         known);
  }
  return *row;
}

void read_sizes(const HyperParameters& hyper, ModelConfig& config) {
  config.n_layers = hyper.required_integer("block_count", 1, kMaxLayers);
  config.n_embd = hyper.required_integer("embedding_length", 1, kMaxWidth);
  config.n_ctx = hyper.required_integer("context_length", 1, kMaxContext);
  config.n_ff = hyper.required_integer("feed_forward_length", 0, kMaxWidth);
  const char* eps = config.architecture->norm == NormKind::kRms ? "attention.layer_norm_rms_epsilon"
                                                                : "attention.layer_norm_epsilon";
  config.norm_eps = hyper.required_positive(eps);
}

void read_heads(const HyperParameters& hyper, ModelConfig& config) {
  config.n_heads = hyper.required_integer("attention.head_count", 1, kMaxHeads);
  // Files of architectures without grouped heads leave the second count out: it equals the first.
  config.n_kv_heads =
      hyper.integer("attention.head_count_kv", 1, kMaxHeads).value_or(config.n_heads);
  if (config.n_heads % config.n_kv_heads != 0) {
    hyper.refuse("attention.head_count_kv", concat("must divide the ", config.n_heads, " heads"));
  }
  const auto key_width = hyper.integer("attention.key_length", 1, kMaxHeadWidth);
  if (!key_width && config.n_embd % config.n_heads != 0) {
    hyper.refuse("attention.head_count",
                 concat("must divide the embedding length ", config.n_embd));
  }
  config.head_width = key_width.value_or(config.n_embd / config.n_heads);
  if (config.head_width > kMaxHeadWidth) {
    hyper.refuse("attention.head_count",
                 concat("heads would be ", config.head_width, " wide; at most ", kMaxHeadWidth));
  }
  const auto value_width = hyper.integer("attention.value_length", 1, kMaxHeadWidth);
  if (value_width && *value_width != config.head_width) {
    hyper.refuse("attention.value_length", concat("must equal the key length ", config.head_width));
  }
}

RopeConfig::Scaling scaling_kind(const HyperParameters& hyper) {
  const auto name = hyper.text("rope.scaling.type");
  // A factor without a kind is linear, as the format defines.
  if (!name && hyper.positive("rope.scaling.factor")) return RopeConfig::Scaling::kLinear;
  if (!name || *name == "none") return RopeConfig::Scaling::kNone;
  if (*name == "linear") return RopeConfig::Scaling::kLinear;
  if (*name == "yarn") return RopeConfig::Scaling::kYarn;
  if (*name == "longrope") return RopeConfig::Scaling::kLongRope;
  hyper.refuse("rope.scaling.type", "must be none, linear, yarn or longrope");
}

void read_rope(const HyperParameters& hyper, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  rope.width =
      hyper.integer("rope.dimension_count", 0, config.head_width).value_or(config.head_width);
  if (rope.width % 2 != 0) {
    hyper.refuse(hyper.integer("rope.dimension_count", 0, kMaxHeadWidth) ? "rope.dimension_count"
                                                                         : "attention.head_count",
                 concat("rotates ", rope.width, " elements; must be even"));
  }
  rope.base = hyper.positive("rope.freq_base").value_or(config.architecture->default_rope_base);
  rope.trained_context = config.n_ctx;
  rope.scaling = scaling_kind(hyper);
  const auto old_factor = hyper.positive("rope.scale_linear");  // how older files say "linear"
  if (old_factor && rope.scaling == RopeConfig::Scaling::kNone) {
    rope.scaling = RopeConfig::Scaling::kLinear;
    rope.factor = *old_factor;
  } else if (rope.scaling == RopeConfig::Scaling::kLinear ||
             rope.scaling == RopeConfig::Scaling::kYarn) {
    rope.factor = hyper.required_positive("rope.scaling.factor");
  }
  if (rope.scaling == RopeConfig::Scaling::kYarn) {
    rope.original_context =
        hyper.required_integer("rope.scaling.original_context_length", 1, kMaxContext);
    rope.beta_fast = hyper.positive("rope.scaling.yarn_beta_fast").value_or(rope.beta_fast);
    rope.beta_slow = hyper.positive("rope.scaling.yarn_beta_slow").value_or(rope.beta_slow);
    rope.yarn_attention_factor =
        hyper.positive("rope.scaling.yarn_attn_factor").value_or(rope.yarn_attention_factor);
  } else {
    // longrope also comes undeclared, as two tensors of factors
    rope.original_context = hyper.integer("rope.scaling.original_context_length", 1, kMaxContext)
                                .value_or(config.n_ctx);
  }
  rope.attention_factor = hyper.positive("rope.scaling.attn_factor").value_or(0.0f);
}

void read_scales(const HyperParameters& hyper, ModelConfig& config) {
  const Architecture& row = *config.architecture;
  const auto width = static_cast<double>(row.width_scaled_layers == config.n_layers
                                             ? config.n_embd / config.n_heads
                                             : config.head_width);
  config.attention_scale =
      hyper.positive("attention.scale").value_or(static_cast<float>(1.0 / std::sqrt(width)));
  if (row.embedding_scale == EmbeddingScale::kSqrtWidth) {
    config.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(config.n_embd)));
  } else if (row.embedding_scale == EmbeddingScale::kFromFile) {
    config.embedding_scale = hyper.required_positive("embedding_scale");
  }
  if (row.multipliers) {
    config.residual_scale = hyper.required_positive("residual_scale");
    config.logit_scale = 1.0f / hyper.required_positive("logit_scale");
    if (!std::isfinite(config.logit_scale))
      hyper.refuse("logit_scale", "its inverse is not finite");
  }
  if (row.softcaps_required) {
    config.attention_softcap = hyper.required_positive("attn_logit_softcapping");
    config.final_softcap = hyper.required_positive("final_logit_softcapping");
  } else {
    config.attention_softcap = hyper.positive("attn_logit_softcapping").value_or(0.0f);
    config.final_softcap = hyper.positive("final_logit_softcapping").value_or(0.0f);
  }
}

void read_window(const HyperParameters& hyper, ModelConfig& config) {
  const Architecture& row = *config.architecture;
  const char* key = "attention.sliding_window";
  config.window = row.window_required ? hyper.required_integer(key, 1, kMaxContext)
                                      : hyper.integer(key, 0, kMaxContext).value_or(0);
  if (config.window == 0) return;
  config.window_layers =
      hyper.layer_pattern("attention.sliding_window_pattern", config.n_layers, row.global_every);
  if (row.local_rope) {
    const float base =
        row.default_local_rope_base > 0 ? row.default_local_rope_base : config.rope.base;
    config.local_rope_base = hyper.positive("rope.freq_base_swa").value_or(base);
  }
}

void read_experts(const HyperParameters& hyper, ModelConfig& config) {
  const Architecture& row = *config.architecture;
  const auto declared = hyper.integer("expert_count", 0, kMaxExperts).value_or(0);
  if (row.experts == Experts::kNone) {
    if (declared > 0) hyper.refuse("expert_count", "this architecture has no experts");
    return;
  }
  if (row.experts == Experts::kRequired && declared == 0)
    hyper.refuse("expert_count", "must be at least 1");
  if (declared == 0) return;
  config.n_experts = declared;
  config.n_experts_used = hyper.required_integer("expert_used_count", 1, declared);
  config.n_ff_expert =
      hyper.integer("expert_feed_forward_length", 1, kMaxWidth).value_or(config.n_ff);
  if (config.n_ff_expert == 0) hyper.refuse("feed_forward_length", "experts need a width");
  if (row.shared_expert) {
    config.n_ff_shared = hyper.required_integer("expert_shared_feed_forward_length", 1, kMaxWidth);
  }
}

// Rows of the embedding, which every other count of the vocabulary must equal.
int64_t read_vocabulary_size(const gguf::GgufFile& file, const HyperParameters& hyper) {
  const gguf::TensorInfo* table = file.find("token_embd.weight");
  if (!table || table->shape.rank() != 2)
    fail(ErrorCode::kFormat, "token_embd.weight is missing or not a matrix");
  const uint64_t n = table->shape[0];
  if (n > INT32_MAX)
    fail(ErrorCode::kFormat, "token_embd.weight has ", n, " rows; token ids are 32-bit");
  const auto declared = hyper.integer("vocab_size", 0, INT64_MAX);
  if (declared && static_cast<uint64_t>(*declared) != n) {
    hyper.refuse("vocab_size", concat("token_embd.weight has ", n, " rows"));
  }
  const gguf::Value* tokens = file.metadata().find("tokenizer.ggml.tokens");
  if (tokens && tokens->strings() && tokens->strings()->size() != n) {
    fail(ErrorCode::kFormat, "tokenizer.ggml.tokens has ", tokens->strings()->size(),
         " entries but token_embd.weight has ", n, " rows");
  }
  return static_cast<int64_t>(n);
}

}  // namespace

bool ModelConfig::has_rope(int64_t layer) const {
  if (architecture->learned_positions) return false;
  return architecture->rope_skips_every == 0 || (layer + 1) % architecture->rope_skips_every != 0;
}

ModelConfig parse_config(const gguf::GgufFile& file) {
  ModelConfig config;
  config.architecture = &architecture_of(file.metadata());
  const HyperParameters hyper(file.metadata(), config.architecture->name);
  read_sizes(hyper, config);
  read_heads(hyper, config);
  hyper.require_not_false("attention.causal", "this forward looks back only");
  if (!config.architecture->learned_positions) read_rope(hyper, config);
  read_scales(hyper, config);
  read_window(hyper, config);
  read_experts(hyper, config);
  if (config.n_experts == 0 && config.n_ff == 0)
    hyper.refuse("feed_forward_length", "must be at least 1");
  config.n_vocab = read_vocabulary_size(file, hyper);
  return config;
}

}  // namespace realm
