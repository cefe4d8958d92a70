#include "model/fingerprint.h"

#include <algorithm>
#include <vector>

namespace realm {

namespace {

constexpr int64_t kRowsOfEach = 4;

class Fingerprint {
 public:
  explicit Fingerprint(Backend& backend) : backend_(backend) {}

  template <class... Numbers>
  void numbers(Numbers... values) {
    (hash_.update_number(values), ...);
  }

  void text(std::string_view text) {
    hash_.update_number(static_cast<uint64_t>(text.size()));
    hash_.update(text);
  }

  void vector(Vector vector) {
    hash_.update_number(vector.n);
    if (!vector.data) return;
    values_.resize(static_cast<size_t>(vector.n));
    backend_.download(vector.data, values_.data(), values_.size() * sizeof(float));
    hash_.update(std::as_bytes(std::span(values_)));
  }

  void norm(const NormWeights& norm) {
    vector(norm.weight);
    vector(norm.bias);
  }

  // Rows spread evenly from the first to the last.
  void weight(const Weight* weight) {
    hash_.update_number(weight != nullptr);
    if (!weight) return;
    numbers(static_cast<int>(weight->dtype()), weight->rows(), weight->cols());
    values_.resize(static_cast<size_t>(weight->cols()));
    const int64_t n = std::min(kRowsOfEach, weight->rows());
    for (int64_t i = 0; i < n; ++i) {
      backend_.decode_rows(*weight, (weight->rows() - 1) * i / std::max<int64_t>(1, n - 1), 1,
                           values_.data());
      hash_.update(std::as_bytes(std::span(values_)));
    }
  }

  void linear(const Linear& linear) {
    weight(linear.weight.get());
    vector(linear.bias);
  }

  void layer(const LayerWeights& w) {
    for (const NormWeights* each : {&w.attention_norm, &w.feed_forward_norm, &w.post_attention_norm,
                                    &w.post_feed_forward_norm, &w.q_norm, &w.k_norm}) {
      norm(*each);
    }
    for (const Linear* each : {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down, &w.router,
                               &w.shared_gate, &w.shared_up, &w.shared_down, &w.shared_router}) {
      linear(*each);
    }
    for (const auto* each : {&w.expert_gate, &w.expert_up, &w.expert_down}) weight(each->get());
  }

  Sha256Digest finish() { return hash_.finish(); }

 private:
  Backend& backend_;
  Sha256 hash_;
  std::vector<float> values_;
};

}  // namespace

Sha256Digest fingerprint_of(Backend& backend, const ModelConfig& config,
                            const Vocabulary* vocabulary, const ModelWeights& weights) {
  Fingerprint print(backend);
  print.text(config.architecture->name);
  print.numbers(config.n_layers, config.n_embd, config.n_vocab, config.n_ctx, config.n_heads,
                config.n_kv_heads, config.head_width, config.n_experts_used, config.norm_eps,
                config.embedding_scale, config.residual_scale, config.attention_scale,
                config.logit_scale, config.attention_softcap, config.final_softcap, config.window);
  for (const bool has_window : config.window_layers) print.numbers(has_window);
  print.numbers(config.rope.base, config.rope.width, static_cast<int>(config.rope.scaling),
                config.rope.factor, config.rope.original_context, config.rope.trained_context,
                config.rope.attention_factor, config.rope.yarn_attention_factor,
                config.rope.beta_fast, config.rope.beta_slow, config.local_rope_base);
  for (const auto* factors : {&weights.rope_factors.all, &weights.rope_factors.short_context,
                              &weights.rope_factors.long_context}) {
    for (const float factor : *factors) print.numbers(factor);
  }
  for (int32_t id = 0; vocabulary && id < vocabulary->size(); ++id) {
    print.text(vocabulary->text(id));
    print.numbers(vocabulary->ends_generation(id));
  }
  for (const auto* each : {&weights.embedding, &weights.positions, &weights.own_head}) {
    print.weight(each->get());
  }
  print.vector(weights.head_bias);
  print.norm(weights.output_norm);
  for (const LayerWeights& layer : weights.layers) print.layer(layer);
  return print.finish();
}

}  // namespace realm
