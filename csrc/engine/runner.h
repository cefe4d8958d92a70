// Turns the rows that the scheduler chose into one ragged forward, and logits into tokens. Rows of
// prompts, of answers and of guesses are alike: a request's guesses are verified by asking for the
// logits of several rows. Holds the model's working memory and the cache.
//
// The engine's thread alone. Everything large is allocated when it is made.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/logit_rows.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/speculative/judge.h"
#include "kv/kv_space.h"
#include "model/decoder.h"
#include "model/kv_storage.h"
#include "model/model.h"

namespace realm {

// Called on the engine's thread around each forward: how tests disturb one. It may change the
// logits, [rows wanted, V], or throw.
using StepHook = std::function<void(const StepBatch& step, std::span<float> logits)>;

struct RunnerOptions {
  int64_t max_rows = 0, max_wanted = 0;  // of a step
  KvType kv_type = KvType::kF16;
  KvPages pages;
  bool hash_logits = false;
  bool poison_blocks = false;  // fills blocks with NaN when they are taken
  StepHook after_forward;
};

class Runner {
 public:
  // `space` keeps the books of the cache that the runner makes.
  Runner(std::shared_ptr<Model> model, RunnerOptions options, KvSpace& space);

  // One forward over `work`. Throws kCancelled if `abandon` was raised; whatever it throws, no
  // sequence has changed.
  void run(std::span<const Work> work, const std::atomic<bool>& abandon);

  // What the run did for the work at `index`: its tokens are in the cache and, if logits were
  // wanted, the answer goes on by one token or more, which are appended to `piece`; it may end.
  // Returns how many of its guesses stand. Throws what sampling throws; the sequence is then fit
  // for nothing but its end.
  int64_t accept(const Work& work, size_t index, Piece& piece);

 private:
  void lay_out(std::span<const Work> work);
  void lay_out(const Work& work);
  int64_t list_for(const Sequence& sequence) const;
  StepBatch step() const { return {tokens_, positions_, spans_, wanted_, window_spans_}; }
  void poison_taken();
  void poison(std::vector<BlockId>& blocks, bool in_window);
  int64_t draw(const Work& work, size_t first_wanted, Piece& piece);
  std::optional<Verdict> verdict_of_top(const Sequence& sequence, std::span<const TopLogit> top,
                                        size_t i);
  Verdict verdict(const Sequence& sequence, std::span<const float> logits, size_t i);
  bool take(Sequence& sequence, std::span<const float> logits, int32_t token, Piece& piece);

  const std::shared_ptr<Model> model_;
  const RunnerOptions options_;
  KvStorage cache_;
  Decoder decoder_;
  Drawing drawing_;
  LogitRows rows_;
  std::vector<BlockId> taken_global_, taken_window_;  // since the last step, to be poisoned

  // Of the present step.
  std::vector<int32_t> tokens_, positions_, wanted_;
  std::vector<SequenceSpan> spans_, window_spans_;
  std::vector<size_t> first_wanted_;  // of each work
  std::vector<int64_t> lists_;        // of each row wanted, how many of its logits: LogitRows
};

}  // namespace realm
