// One answer as it grows: what is drawn at the next position, whether the answer goes on, and what
// it adds to the text. A session and the engine use it alike, so that a request has one answer
// however it is computed. A pure function of context, options, seed and the logits it is shown.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/logprobs.h"
#include "engine/sampler.h"
#include "engine/stop_matcher.h"
#include "engine/token_history.h"
#include "model/utf8.h"
#include "model/vocabulary.h"
#include "realm/sampling_params.h"

namespace realm {

enum class FinishReason {
  kStop,       // an end-of-generation token, a stop token or a stop string
  kLength,     // max_tokens or the context is used up
  kCancelled,  // somebody did not want the rest
  kDeadline,   // time was up
  kError,
};

const char* name_of(FinishReason reason);

// How an answer ended.
struct Finish {
  FinishReason reason = FinishReason::kStop;
  std::optional<size_t> stop_index;   // of the stop string that ended it
  std::optional<int32_t> stop_token;  // the token that ended it; not part of the answer
  std::optional<Error> error;         // with kError
};

// Memory that draws reuse; one per thread.
struct Drawing {
  Sampler sampler;
  LogprobReader logprobs;
};

// The length that a sequence of this prompt may reach, which decides between a model's short and
// long RoPE factors: wherever an answer is computed, it must be the same.
int64_t planned_length(int64_t n_prompt, int64_t max_tokens, int64_t n_ctx);

class Generation {
 public:
  // An answer to `context`, which is not empty. `params` are validated, `capacity` is the length of
  // context and answer that the cache holds; the vocabulary may be null.
  Generation(std::shared_ptr<const Vocabulary> vocabulary, SamplingParams params, uint64_t seed,
             std::vector<int32_t> context, int64_t capacity);

  // Context and answer.
  std::span<const int32_t> tokens() const { return tokens_; }
  int64_t n_context() const { return n_context_; }
  int64_t n_generated() const { return static_cast<int64_t>(tokens_.size()) - n_context_; }
  const TokenHistory& history() const { return history_; }
  const SamplingParams& params() const { return params_; }
  uint64_t seed() const { return seed_; }

  // The token that plain sampling draws after tokens(), from their logits [V].
  int32_t draw(std::span<const float> logits, Drawing& drawing) const;
  // Its log-probability, if the options ask for it.
  std::optional<Logprobs> logprobs_of(std::span<const float> logits, int32_t token,
                                      Drawing& drawing) const;

  // `token` stands at the next position: it becomes part of the answer, which a stop string may end
  // here, or it is one that ends the answer and has no part in it. True if it became part.
  bool take(int32_t token);
  // No further token fits: the budget or the capacity is used up.
  bool is_full() const;
  // Ends the answer here and lets out what was held back of its text. Once ended, stays so.
  void end(FinishReason reason);

  const std::optional<Finish>& finish() const { return finish_; }
  std::optional<size_t> stop_index() const { return stops_.matched(); }
  // What the tokens so far add to the text, in whole characters, since the last call. Text that
  // could begin a stop string is held back until the answer ends. Empty without a vocabulary.
  std::string take_text();

 private:
  bool ends(int32_t token) const;
  void add_text(int32_t token);

  std::shared_ptr<const Vocabulary> vocabulary_;
  SamplingParams params_;
  uint64_t seed_;
  int64_t n_context_, capacity_;
  std::vector<int32_t> tokens_;
  TokenHistory history_;
  StopMatcher stops_;
  Utf8Stream characters_;
  std::string text_;
  std::optional<Finish> finish_;
};

}  // namespace realm
