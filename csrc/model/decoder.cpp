#include "model/decoder.h"

#include <algorithm>

#include "base/error.h"
#include "model/linear.h"

namespace realm {

Decoder::Decoder(Backend& backend, const ModelConfig& config, const ModelWeights& weights,
                 int64_t max_rows, int64_t max_wanted)
    : backend_(backend),
      config_(config),
      weights_(weights),
      arch_(*config.architecture),
      max_rows_(max_rows),
      max_wanted_(max_wanted) {
  if (!arch_.learned_positions) {
    global_angles_.emplace(Angles{{config.rope, config.rope.base, weights.rope_factors}, {}, {}});
    if (config.local_rope_base > 0) {
      // Local layers see short distances only: their angles are not scaled.
      RopeConfig local = config.rope;
      local.scaling = RopeConfig::Scaling::kNone;
      local.attention_factor = 0;
      local_angles_.emplace(Angles{{local, config.local_rope_base, {}}, {}, {}});
    }
  }
  lay_out_memory();  // counts
  memory_ = backend.allocate(static_cast<uint64_t>(floats_used_) * sizeof(float));
  floats_used_ = 0;
  lay_out_memory();  // places
  recorder_ = backend.make_step_recorder();
}

Matrix Decoder::take(int64_t rows, int64_t cols) {
  constexpr int64_t kLine = 16;  // floats: matrices start on cache lines
  float* base = memory_ ? reinterpret_cast<float*>(memory_->data()) + floats_used_ : nullptr;
  floats_used_ += (rows * cols + kLine - 1) / kLine * kLine;
  return {base, rows, cols};
}

void Decoder::lay_out_memory() {
  const int64_t rows = max_rows_, embd = config_.n_embd;
  const int64_t ff = std::max({config_.n_ff, config_.n_ff_shared});
  x_ = take(rows, embd);
  normed_ = take(rows, embd);
  block_ = take(rows, embd);
  q_ = take(rows, config_.q_width());
  k_ = take(rows, config_.kv_width());
  v_ = take(rows, config_.kv_width());
  attended_ = take(rows, config_.q_width());
  gate_ = take(rows, ff);
  up_ = take(rows, ff);
  if (arch_.learned_positions) positions_ = take(rows, embd);
  for (auto* angles : {&global_angles_, &local_angles_}) {
    if (!*angles) continue;
    (*angles)->cos = take(rows, (*angles)->planner.half());
    (*angles)->sin = take(rows, (*angles)->planner.half());
  }
  if (config_.n_experts > 0) {
    const int64_t chosen = rows * config_.n_experts_used;
    router_ = take(rows, config_.n_experts);
    expert_ids_ = take(rows, config_.n_experts_used);
    expert_weights_ = take(rows, config_.n_experts_used);
    experts_ = {take(chosen, embd), take(chosen, embd), take(chosen, config_.n_ff_expert),
                take(chosen, config_.n_ff_expert)};
    shared_ = take(rows, embd);
    shared_logit_ = take(rows, 1);
  }
  wanted_ = take(max_wanted_, embd);
  logits_all_ = take(max_wanted_, config_.n_vocab);
}

void Decoder::run(const StepBatch& step, const KvStorage& cache) {
  begin(step);
  logits_ = logits_all_.first_rows(static_cast<int64_t>(step.rows_wanted.size()));
  if (recorder_) {
    recorder_->run(step, cache.layers(), adapters_.on_rows(), [&] { issue(step, cache); });
  } else {
    issue(step, cache);
  }
  backend_.check_cancelled();
}

// Everything that is computed from what begin() planned.
void Decoder::issue(const StepBatch& step, const KvStorage& cache) {
  embed(step);
  for (int64_t i = 0; i < config_.n_layers; ++i) {
    backend_.check_cancelled();
    layer(step, cache, i);
  }
  head(step);
}

void Decoder::begin(const StepBatch& step) {
  n_rows_ = step.n_rows();
  if (n_rows_ > max_rows_ || static_cast<int64_t>(step.rows_wanted.size()) > max_wanted_) {
    fail(ErrorCode::kInternal, "a step of ", n_rows_, " rows, ", step.rows_wanted.size(),
         " wanted, is above ", max_rows_, " and ", max_wanted_);
  }
  plan_angles(step);
  adapters_.plan(step);
}

void Decoder::layer(const StepBatch& step, const KvStorage& cache, int64_t layer) {
  attention(config_.has_window(layer) ? step.in_window() : step, cache.layer(layer), layer);
  feed_forward(weights_.layers[static_cast<size_t>(layer)]);
}

void Decoder::plan_angles(const StepBatch& step) {
  planned_tokens_.resize(step.tokens.size());
  for (const SequenceSpan& span : step.spans) {
    std::fill_n(planned_tokens_.begin() + span.first_row, span.n_rows, span.planned_tokens);
  }
  if (global_angles_) plan_angles(step, *global_angles_);
  if (local_angles_) plan_angles(step, *local_angles_);
}

void Decoder::plan_angles(const StepBatch& step, Angles& angles) {
  const auto n = static_cast<size_t>(n_rows_ * angles.planner.half());
  host_angles_.resize(2 * n);
  angles.planner.plan(step.positions, planned_tokens_, host_angles_.data(),
                      host_angles_.data() + n);
  backend_.upload(host_angles_.data(), angles.cos.data, n * sizeof(float));
  backend_.upload(host_angles_.data() + n, angles.sin.data, n * sizeof(float));
}

RopeAngles Decoder::angles_of(int64_t layer) const {
  const Angles& angles =
      local_angles_ && config_.has_window(layer) ? *local_angles_ : *global_angles_;
  return {angles.cos.data, angles.sin.data, angles.planner.half(), arch_.rope_interleaved};
}

void Decoder::embed(const StepBatch& step) {
  realm::embed(backend_, *weights_.embedding, step.tokens, config_.embedding_scale,
               adapters_.rows(), residual());
  if (!arch_.learned_positions) return;
  const Matrix positions = positions_.first_rows(n_rows_);
  backend_.embed(*weights_.positions, step.positions, 1.0f, positions);
  backend_.add(residual(), positions, 1.0f);
}

void Decoder::attention(const StepBatch& step, const KvLayer& cache, int64_t layer) {
  const LayerWeights& w = weights_.layers[static_cast<size_t>(layer)];
  const Matrix in = normed(w.attention_norm);
  const Matrix q = q_.first_rows(n_rows_), k = k_.first_rows(n_rows_), v = v_.first_rows(n_rows_);
  project(backend_, {{w.q, q}, {w.k, k}, {w.v, v}}, in, adapters_.rows());
  const bool by_head = arch_.qk_norm == QkNorm::kPerHead;
  norm_in_place(by_head ? q.as_rows_of(config_.head_width) : q, w.q_norm);
  norm_in_place(by_head ? k.as_rows_of(config_.head_width) : k, w.k_norm);
  if (config_.has_rope(layer)) {
    backend_.rotate_and_store_kv(step, cache, angles_of(layer), q, k, v);
  } else {
    backend_.store_kv(step, cache, k, v);
  }
  const AttentionShape shape{
      config_.n_heads,           config_.n_kv_heads,
      config_.head_width,        config_.attention_scale,
      config_.attention_softcap, config_.has_window(layer) ? config_.window : 0};
  const Matrix attended = attended_.first_rows(n_rows_), out = block_.first_rows(n_rows_);
  backend_.attend(step, cache, shape, q, attended);
  project(backend_, {{w.o, out}}, attended, adapters_.rows());
  add_residual(out, w.post_attention_norm);
}

void Decoder::feed_forward(const LayerWeights& w) {
  const Matrix in = normed(w.feed_forward_norm), out = block_.first_rows(n_rows_);
  if (config_.n_experts > 0) {
    mixture(w, in, out);
  } else {
    dense(w.gate, w.up, w.down, in, out);
  }
  add_residual(out, w.post_feed_forward_norm);
}

void Decoder::dense(const Linear& gate, const Linear& up, const Linear& down, Matrix in,
                    Matrix out) {
  const int64_t ff = up.weight->rows();
  const Matrix gates{gate_.data, n_rows_, ff}, ups{up_.data, n_rows_, ff};
  if (arch_.gated) {
    project(backend_, {{gate, gates}, {up, ups}}, in, adapters_.rows());
    backend_.gate(arch_.activation, gates, ups, ups);
  } else {
    project(backend_, {{up, ups}}, in, adapters_.rows());
    backend_.activate(arch_.activation, ups);
  }
  project(backend_, {{down, out}}, ups, adapters_.rows());
}

void Decoder::mixture(const LayerWeights& w, Matrix in, Matrix out) {
  const Matrix router = router_.first_rows(n_rows_);
  const Routing routing{reinterpret_cast<int32_t*>(expert_ids_.data), expert_weights_.data,
                        config_.n_experts_used};
  const std::vector<ExpertLora> lora = expert_lora(w, config_.n_experts, adapters_.rows());
  const ExpertBank bank{w.expert_gate.get(), w.expert_up.get(), w.expert_down.get(),
                        config_.n_experts, lora};
  project(backend_, {{w.router, router}}, in, adapters_.rows());
  backend_.route(router, arch_.renormalize_experts, routing);
  backend_.experts(bank, arch_.activation, in, routing, experts_, out);
  if (!arch_.shared_expert) return;
  const Matrix shared = shared_.first_rows(n_rows_), logit = shared_logit_.first_rows(n_rows_);
  dense(w.shared_gate, w.shared_up, w.shared_down, in, shared);
  project(backend_, {{w.shared_router, logit}}, in, adapters_.rows());
  backend_.scale_by_sigmoid(shared, logit);
  backend_.add(out, shared, 1.0f);
}

void Decoder::head(const StepBatch& step) {
  const auto n = static_cast<int64_t>(step.rows_wanted.size());
  logits_ = logits_all_.first_rows(n);
  if (n == 0) return;
  const Matrix rows = wanted_.first_rows(n);
  backend_.gather(residual(), step.rows_wanted, rows);
  norm_in_place(rows, weights_.output_norm);
  project(backend_, {{weights_.head(), weights_.head_bias, logits_, weights_.head_site}}, rows,
          adapters_.wanted());
  if (config_.logit_scale != 1.0f) backend_.scale(logits_, config_.logit_scale);
  if (config_.final_softcap > 0) backend_.softcap(logits_, config_.final_softcap);
}

// The residual stream as a block reads it: normalized, or as it is where the architecture has no
// norm there.
Matrix Decoder::normed(const NormWeights& weights) {
  if (!weights.weight.data) return residual();
  const Matrix out = normed_.first_rows(n_rows_);
  backend_.norm(arch_.norm, residual(), weights.weight, weights.bias, config_.norm_eps, out);
  return out;
}

void Decoder::norm_in_place(Matrix x, const NormWeights& weights) {
  if (weights.weight.data)
    backend_.norm(arch_.norm, x, weights.weight, weights.bias, config_.norm_eps, x);
}

void Decoder::add_residual(Matrix block, const NormWeights& post_norm) {
  norm_in_place(block, post_norm);
  backend_.add(residual(), block, config_.residual_scale);
}

}  // namespace realm
