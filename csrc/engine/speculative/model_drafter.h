// Guesses by a smaller model, which decodes ahead with a cache of its own: one forward per place
// for all requests together. Rows of a request that are new to it (its prompt, or what was decoded
// while nothing was guessed) are read first, in chunks; that call then has no guesses for it.
//
// The cache holds nothing of a guess that was refused, and nothing of a request that is forgotten,
// apart from whole blocks of tokens that stand, kept for requests of the same namespace that begin
// alike as long as there is room. Requests for which there is no room get no guesses.
#pragma once

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/speculative/drafter.h"
#include "kv/kv_space.h"
#include "model/decoder.h"
#include "model/kv_storage.h"
#include "model/model.h"

namespace realm {

struct ModelDrafterOptions {
  KvType kv_type = KvType::kF16;
  KvPages pages;
  int64_t max_requests = 32;  // that guess in one call
  int64_t max_rows = 512;     // of one forward
  int64_t target_vocab = 0;   // ids that may be guessed
};

class ModelDrafter final : public Drafter {
 public:
  ModelDrafter(std::shared_ptr<Model> model, const ModelDrafterOptions& options);

  void propose(std::span<const DraftRequest> requests, std::span<Draft> drafts) override;
  void settle(uint64_t id, size_t n_accepted) noexcept override;
  void forget(uint64_t id) noexcept override;

  int64_t n_blocks() const { return space_.n_blocks(); }
  int64_t n_blocks_used() const { return space_.n_used(); }
  uint64_t bytes() const { return cache_.bytes(); }

 private:
  // What is held of a request.
  struct Held {
    KvSequence kv;
    std::shared_ptr<const AdapterSet> adapters;  // null: the base alone
    int64_t n_computed = 0;  // leading tokens whose keys and values are in the cache
    int64_t n_standing = 0;  // of its tokens, those known to stand; guesses follow them
  };
  // A request on its way through one call.
  struct Run {
    const DraftRequest* request;
    Draft* draft;
    Held* held;
    TokenHistory history;  // with the guesses, if penalties need one
    int64_t n_rows = 0;    // in the next forward
    bool is_guessing = false;
  };

  Held* hold(const DraftRequest& request, Draft& draft);
  bool enter(Run& run);
  void plan_rows(std::span<Run> runs);
  void forward(std::span<Run*> runs);
  void lay_out(const Run& run);
  void guess(Run& run, std::span<const float> logits);
  std::span<const float> fitted(std::span<const float> logits);
  void release(Held& held, int64_t n_tokens);

  const std::shared_ptr<Model> model_;
  const ModelDrafterOptions options_;
  KvSpace space_;
  KvStorage cache_;
  Decoder decoder_;
  Sampler sampler_;
  std::unordered_map<uint64_t, Held> held_;

  // Of the present forward.
  std::vector<int32_t> tokens_, positions_, wanted_;
  std::vector<SequenceSpan> spans_, window_spans_;
  std::vector<float> logits_;  // [rows wanted, V of the draft]
  std::vector<float> fitted_;  // [V of the target], where the two differ
};

}  // namespace realm
