#include "model/weights.h"

#include "base/error.h"
#include "model/tensor_source.h"

namespace realm {

namespace {

// Loads one block's tensors; `p` is the prefix of their names.
class LayerLoader {
 public:
  LayerLoader(TensorSource& source, const ModelConfig& config, int64_t layer,
              std::vector<AdapterSite>& sites)
      : source_(source),
        sites_(sites),
        config_(config),
        arch_(*config.architecture),
        p_(concat("blk.", layer, ".")) {}

  LayerWeights load() {
    load_norms();
    load_attention();
    if (config_.n_experts > 0) {
      load_experts();
    } else {
      load_feed_forward();
    }
    return std::move(layer_);
  }

 private:
  Linear linear(const std::string& name, int64_t rows, int64_t cols, bool is_qkv = false) {
    return {source_.matrix(p_ + name + ".weight", rows, cols), bias(name, rows, is_qkv),
            site(name, 0, rows)};
  }

  SiteId site(const std::string& name, int64_t first_row, int64_t n_rows) {
    sites_.push_back({p_ + name, first_row, n_rows});
    return static_cast<SiteId>(sites_.size() - 1);
  }

  Vector bias(const std::string& name, int64_t n, bool is_qkv) {
    const bool required = arch_.biases == Biases::kAll || (is_qkv && arch_.biases == Biases::kQkv);
    const std::string full = p_ + name + ".bias";
    return required ? source_.vector(full, n) : source_.optional_vector(full, n);
  }

  NormWeights norm(const std::string& name, int64_t n) {
    NormWeights weights{source_.vector(p_ + name + ".weight", n), {}};
    if (arch_.norm == NormKind::kLayer) weights.bias = bias(name, n, false);
    return weights;
  }

  void load_norms() {
    if (arch_.pre_norms) {
      layer_.attention_norm = norm("attn_norm", config_.n_embd);
      layer_.feed_forward_norm = norm("ffn_norm", config_.n_embd);
    }
    if (arch_.post_norms) {
      layer_.post_attention_norm = norm("post_attention_norm", config_.n_embd);
      layer_.post_feed_forward_norm = norm("post_ffw_norm", config_.n_embd);
    }
    if (arch_.qk_norm == QkNorm::kPerHead) {
      layer_.q_norm = norm("attn_q_norm", config_.head_width);
      layer_.k_norm = norm("attn_k_norm", config_.head_width);
    } else if (arch_.qk_norm == QkNorm::kWholeRow) {
      layer_.q_norm = norm("attn_q_norm", config_.q_width());
      layer_.k_norm = norm("attn_k_norm", config_.kv_width());
    }
  }

  void load_attention() {
    const int64_t q = config_.q_width(), kv = config_.kv_width();
    if (arch_.fused_qkv) {
      load_fused_qkv(q, kv);
    } else {
      layer_.q = linear("attn_q", q, config_.n_embd, true);
      layer_.k = linear("attn_k", kv, config_.n_embd, true);
      layer_.v = linear("attn_v", kv, config_.n_embd, true);
    }
    layer_.o = linear("attn_output", config_.n_embd, q);
  }

  void load_fused_qkv(int64_t q, int64_t kv) {
    auto parts = source_.split_matrix(p_ + "attn_qkv.weight", {q, kv, kv}, config_.n_embd);
    const Vector whole = bias("attn_qkv", q + 2 * kv, true);
    const auto part_of = [&](int64_t first, int64_t n) {
      return whole.data ? Vector{whole.data + first, n} : Vector{};
    };
    layer_.q = {std::move(parts[0]), part_of(0, q), site("attn_qkv", 0, q)};
    layer_.k = {std::move(parts[1]), part_of(q, kv), site("attn_qkv", q, kv)};
    layer_.v = {std::move(parts[2]), part_of(q + kv, kv), site("attn_qkv", q + kv, kv)};
  }

  void load_feed_forward() {
    if (arch_.fused_gate_up) {
      auto parts =
          source_.split_matrix(p_ + "ffn_up.weight", {config_.n_ff, config_.n_ff}, config_.n_embd);
      layer_.gate = {std::move(parts[0]), {}, site("ffn_up", 0, config_.n_ff)};
      layer_.up = {std::move(parts[1]), {}, site("ffn_up", config_.n_ff, config_.n_ff)};
    } else {
      if (arch_.gated) layer_.gate = linear("ffn_gate", config_.n_ff, config_.n_embd);
      layer_.up = linear("ffn_up", config_.n_ff, config_.n_embd);
    }
    layer_.down = linear("ffn_down", config_.n_embd, config_.n_ff);
  }

  void load_experts() {
    const int64_t n = config_.n_experts, ff = config_.n_ff_expert, embd = config_.n_embd;
    layer_.router = linear("ffn_gate_inp", n, embd);
    layer_.expert_gate = source_.bank(p_ + "ffn_gate_exps.weight", n, ff, embd);
    layer_.expert_up = source_.bank(p_ + "ffn_up_exps.weight", n, ff, embd);
    layer_.expert_down = source_.bank(p_ + "ffn_down_exps.weight", n, embd, ff);
    layer_.expert_gate_site = site("ffn_gate_exps", 0, ff);
    layer_.expert_up_site = site("ffn_up_exps", 0, ff);
    layer_.expert_down_site = site("ffn_down_exps", 0, embd);
    if (!arch_.shared_expert) return;
    layer_.shared_router = linear("ffn_gate_inp_shexp", 1, embd);
    layer_.shared_gate = linear("ffn_gate_shexp", config_.n_ff_shared, embd);
    layer_.shared_up = linear("ffn_up_shexp", config_.n_ff_shared, embd);
    layer_.shared_down = linear("ffn_down_shexp", embd, config_.n_ff_shared);
  }

  TensorSource& source_;
  std::vector<AdapterSite>& sites_;
  const ModelConfig& config_;
  const Architecture& arch_;
  const std::string p_;
  LayerWeights layer_;
};

std::vector<float> positive_factors(TensorSource& source, const std::string& name, int64_t n) {
  std::vector<float> factors = source.host_vector(name, n);
  for (const float factor : factors) {
    if (!(factor > 0))
      fail(ErrorCode::kFormat, "tensor ", quoted(name), " has the factor ", factor,
           "; must be positive");
  }
  return factors;
}

RopeFactors load_rope_factors(TensorSource& source, const ModelConfig& config) {
  RopeFactors factors;
  const int64_t n = config.rope.width / 2;
  if (source.has("rope_freqs.weight"))
    factors.all = positive_factors(source, "rope_freqs.weight", n);
  const bool has_long = source.has("rope_factors_long.weight"),
             has_short = source.has("rope_factors_short.weight");
  if (has_long != has_short) {
    fail(ErrorCode::kFormat,
         "rope_factors_long.weight and rope_factors_short.weight come only together");
  }
  if (config.rope.scaling == RopeConfig::Scaling::kLongRope && !has_long) {
    fail(ErrorCode::kFormat,
         "rope.scaling.type is 'longrope' but rope_factors_long.weight is missing");
  }
  if (has_long) {
    factors.long_context = positive_factors(source, "rope_factors_long.weight", n);
    factors.short_context = positive_factors(source, "rope_factors_short.weight", n);
  }
  return factors;
}

}  // namespace

ModelWeights load_weights(std::shared_ptr<const gguf::GgufFile> file, const ModelConfig& config,
                          Backend& backend, const LoadOptions& options, const OverlayBase* base) {
  TensorSource source(std::move(file), backend, options, base);
  ModelWeights weights;
  weights.embedding = source.matrix("token_embd.weight", config.n_vocab, config.n_embd);
  if (config.architecture->learned_positions) {
    weights.positions = source.matrix("position_embd.weight", config.n_ctx, config.n_embd);
  }
  weights.rope_factors = load_rope_factors(source, config);
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    weights.layers.push_back(LayerLoader(source, config, layer, weights.sites).load());
  }
  weights.output_norm.weight = source.vector("output_norm.weight", config.n_embd);
  if (config.architecture->norm == NormKind::kLayer) {
    weights.output_norm.bias = source.vector("output_norm.bias", config.n_embd);
  }
  if (source.has("output.weight")) {  // else the embedding serves as head
    weights.own_head = source.matrix("output.weight", config.n_vocab, config.n_embd);
  }
  weights.head_site = static_cast<SiteId>(weights.sites.size());
  weights.sites.push_back({"output", 0, config.n_vocab});
  weights.head_bias = source.optional_vector("output.bias", config.n_vocab);
  weights.bytes = source.bytes();
  weights.merged = source.take_merged();
  weights.tensors = source.finish();
  return weights;
}

}  // namespace realm
