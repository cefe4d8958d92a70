// One sequence by itself over a model: its own pages, its own working memory, any chunking. It
// serves whole-prompt logits and step-by-step sessions, and is the reference that every batched
// execution must equal bit for bit. One thread at a time.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "model/decoder.h"
#include "model/model.h"

namespace realm {

struct SoloOptions {
  KvType kv_type = KvType::kF32;
  int64_t max_tokens = 0;    // the length the sequence may reach; at most the model's context
  int64_t chunk_rows = 512;  // prompts are run in chunks of this many rows
  int64_t max_wanted = 64;   // rows whose logits are computed together
  std::shared_ptr<const AdapterSet> adapters{};  // null: the base alone
};

class SoloSequence {
 public:
  // Throws kInvalidRequest when max_tokens is outside 1 .. n_ctx.
  SoloSequence(std::shared_ptr<Model> model, const SoloOptions& options);

  int64_t length() const { return length_; }
  int64_t capacity() const { return options_.max_tokens; }

  // Appends `tokens` and writes the logits of the last `n_wanted` of them, [n_wanted, V]. Raising
  // `cancel` makes it throw kCancelled soon; the sequence then keeps the length it had. Throws
  // kInvalidRequest for a token id outside the vocabulary or a sequence above its capacity, kFormat
  // if the model computes NaN or infinities.
  void append(std::span<const int32_t> tokens, int64_t n_wanted, float* logits,
              const std::atomic<bool>* cancel = nullptr);

  // Forgets everything from position `n` on.
  void truncate(int64_t n);

 private:
  void check(std::span<const int32_t> tokens, int64_t n_wanted) const;
  void run_chunk(std::span<const int32_t> tokens, int64_t first_pos, int64_t n_wanted,
                 float* logits);

  std::shared_ptr<Model> model_;
  SoloOptions options_;
  std::vector<int32_t> pages_;
  KvStorage cache_;
  Decoder decoder_;
  int64_t length_ = 0;
};

}  // namespace realm
