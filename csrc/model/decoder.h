// THE FORWARD, once, for every architecture and backend. Its only input is a ragged step; prefill,
// chunks, decode and verification are the same code. All working memory is made at construction: a
// step allocates nothing on the backend. One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "model/kv_storage.h"
#include "model/step_adapters.h"
#include "model/weights.h"

namespace realm {

class Decoder {
 public:
  // For steps of at most `max_rows` rows, of which at most `max_wanted` want logits.
  Decoder(Backend& backend, const ModelConfig& config, const ModelWeights& weights,
          int64_t max_rows, int64_t max_wanted);

  // Runs a step: writes keys and values of its rows into the cache and computes the wanted rows'
  // logits. Throws kCancelled when the backend's flag was raised; the rows' pages are then
  // undefined.
  void run(const StepBatch& step, const KvStorage& cache);

  // [rows wanted, V] of the last run, in the backend's memory.
  Matrix logits() const { return logits_; }

  // The pieces of run(), for callers that hold the residual stream between them: begin() plans a
  // step, and the others then compute on its residual(). Only embed() reads the step's tokens.
  void begin(const StepBatch& step);
  void embed(const StepBatch& step);
  void layer(const StepBatch& step, const KvStorage& cache, int64_t layer);
  void head(const StepBatch& step);
  // [T, E], in the backend's memory.
  Matrix residual() const { return x_.first_rows(n_rows_); }

  uint64_t bytes() const { return memory_->bytes(); }

 private:
  struct Angles {
    RopePlanner planner;
    Matrix cos, sin;  // [max_rows, half]
  };

  void issue(const StepBatch& step, const KvStorage& cache);
  void lay_out_memory();
  Matrix take(int64_t rows, int64_t cols);
  void plan_angles(const StepBatch& step);
  void plan_angles(const StepBatch& step, Angles& angles);
  RopeAngles angles_of(int64_t layer) const;
  void attention(const StepBatch& step, const KvLayer& cache, int64_t layer);
  void feed_forward(const LayerWeights& layer);
  void dense(const Linear& gate, const Linear& up, const Linear& down, Matrix in, Matrix out);
  void mixture(const LayerWeights& layer, Matrix in, Matrix out);
  Matrix normed(const NormWeights& weights);
  void norm_in_place(Matrix x, const NormWeights& weights);
  void add_residual(Matrix block, const NormWeights& post_norm);

  Backend& backend_;
  const ModelConfig& config_;
  const ModelWeights& weights_;
  const Architecture& arch_;
  const int64_t max_rows_, max_wanted_;

  std::unique_ptr<Buffer> memory_;
  std::unique_ptr<StepRecorder> recorder_;  // null where a backend has none
  int64_t floats_used_ = 0;                 // of memory_, handed out by take()
  // For max_rows_ rows each; a step uses the first T. x_ is the residual stream.
  Matrix x_, normed_, q_, k_, v_, attended_, block_, gate_, up_, positions_;
  Matrix router_, shared_, shared_logit_, expert_ids_, expert_weights_, wanted_, logits_all_;
  ExpertScratch experts_;
  std::optional<Angles> global_angles_, local_angles_;

  // Of the current step.
  int64_t n_rows_ = 0;
  Matrix logits_;
  std::vector<int32_t> planned_tokens_;
  StepAdapters adapters_;
  std::vector<float> host_angles_;
};

}  // namespace realm
