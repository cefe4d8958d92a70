// One sequence whose layers the caller runs one by one, on rows of floats that the caller holds:
// for programs that look into a model, change what flows through it, or spread its layers out. A
// step is some rows at the positions that come next. They go through layers 0, 1, ... in order, and
// with the last layer they belong to the sequence:
//
//   session.embed_tokens(tokens, rows);
//   for (int64_t i = 0; i < n_layers; ++i) session.forward_layer(i, rows, rows);
//   session.compute_logits(rows, logits);
//
// That gives the logits of SoloSequence of the same length, cache and adapters, bit for bit,
// however the tokens are cut into steps.
//
// Rows are [T, E] and logits [T, V], T being what the buffer's size says, in host memory on every
// backend. T is at most max_rows(). A call that throws kInvalidRequest has computed nothing; after
// any other error, too, the session is where it was before the call, and its outputs are undefined.
//
// One thread at a time; cancel flags may be raised from any.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/decoder.h"
#include "model/model.h"

namespace realm {

struct LayerOptions {
  KvType kv_type = KvType::kF16;
  int64_t max_tokens = 0;                        // the sequence may reach; 0: the model's context
  int64_t max_rows = 512;                        // of a step
  std::shared_ptr<const AdapterSet> adapters{};  // null: the base alone
  // Called with work in tokens before it is done, on the caller's thread; what it throws refuses
  // the call, which then counts nothing. A row counts one part at the embedding, at each layer and
  // at the logits, and n_layers + 2 parts are a token: whatever a caller computes over and over, or
  // leaves out, counts as what it costs beside whole forwards.
  std::function<void(int64_t n_tokens)> charge{};
};

// Throws kInvalidRequest when max_tokens is outside 0 .. n_ctx or max_rows is below 1.
void validate(const LayerOptions& options, const ModelConfig& config);
// Pages of keys and values that a session with these options reserves.
int64_t blocks_of(const LayerOptions& options, Model& model);

class LayerSession {
 public:
  // Reserves memory for max_tokens. Throws as validate(), and kOutOfMemory.
  LayerSession(std::shared_ptr<Model> model, const LayerOptions& options);

  int64_t length() const { return length_; }  // rows that went through all layers
  int64_t capacity() const { return max_tokens_; }
  int64_t max_rows() const { return max_rows_; }
  // What forward_layer() takes next: 0 between steps, then also with any number of rows.
  int64_t next_layer() const { return next_layer_; }
  int64_t n_step_rows() const { return n_step_rows_; }  // of the step under way; 0 between steps
  const Model& model() const { return *model_; }
  // Of keys and values, and working memory.
  uint64_t bytes() const;

  // Each of these throws kInvalidRequest for buffers whose sizes do not fit one another, and
  // kCancelled soon after `cancel` was raised.

  // Writes the rows of tokens at the positions that come next, with what the model adds for those
  // positions. Changes nothing: rows of any origin may go into layer 0. Throws kInvalidRequest in
  // the middle of a step, for a token outside the vocabulary, or above the capacity.
  void embed_tokens(std::span<const int32_t> tokens, std::span<float> rows,
                    const std::atomic<bool>* cancel = nullptr);

  // Runs `layer` on the rows of a step; `out` may be `in`. Layer 0 begins a step. Throws
  // kInvalidRequest for any layer but next_layer(), another number of rows than the step has, rows
  // above the capacity, or NaN or infinite values in them; kFormat if such come out, which is the
  // fault of the model or of huge values in the rows.
  void forward_layer(int64_t layer, std::span<const float> in, std::span<float> out,
                     const std::atomic<bool>* cancel = nullptr);

  // The logits after rows that the last layer gave, or any others; needs no step and changes
  // nothing. Throws kInvalidRequest for NaN or infinite values, kFormat if such come out.
  void compute_logits(std::span<const float> rows, std::span<float> logits,
                      const std::atomic<bool>* cancel = nullptr);

  // Gives up the step under way, and forgets everything from position `n` on. Throws
  // kInvalidRequest for more than length().
  void truncate(int64_t n);

 private:
  int64_t rows_in(size_t n_values) const;
  void check_room(int64_t n_rows) const;
  void check_finite(std::span<const float> rows) const;
  StepBatch step_at(int64_t first_pos, std::span<const int32_t> tokens);
  void charge(int64_t n_rows);
  template <class Compute>
  void on_backend(const std::atomic<bool>* cancel, Compute compute);

  const std::shared_ptr<Model> model_;
  const int64_t max_tokens_, max_rows_, max_wanted_;
  const std::shared_ptr<const AdapterSet> adapters_;
  const std::function<void(int64_t)> charge_;
  std::vector<int32_t> pages_;
  KvStorage cache_;
  Decoder decoder_;
  int64_t length_ = 0, next_layer_ = 0, n_step_rows_ = 0;
  int64_t uncharged_parts_ = 0;  // of a token

  // What a step's description points to.
  std::vector<int32_t> positions_, row_indexes_, no_tokens_;
  SequenceSpan span_;
};

}  // namespace realm
