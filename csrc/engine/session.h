// One sequence, step by step: prompt in, token after token out, until the model ends it, a stop
// condition holds or the budget is spent. It schedules nothing and shares nothing; the engine
// serves many requests at once and gives each the tokens that a session of its own would.
//
// One thread at a time.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/generation.h"
#include "engine/speculative/draft_model.h"
#include "engine/speculative/solo_speculation.h"
#include "model/solo_sequence.h"

namespace realm {

enum class SessionState {
  kReady,       // waits for a prompt
  kGenerating,  // next_token() goes on
  kComplete,    // the model or a stop condition ended the answer
  kStopped,     // max_tokens or the context is used up, or the computation was cancelled
};

struct SessionOptions {
  SamplingParams params;
  KvType kv_type = KvType::kF16;
  int64_t max_context =
      0;  // length of prompts and answers together; 0: the first prompt and its max_tokens
  // Guesses tokens ahead; without one the answer is decoded plainly.
  std::optional<SpeculativeConfig> speculative{};
  DraftModel draft{};                            // with DrafterKind::kModel
  std::shared_ptr<Drafter> drafter{};            // with DrafterKind::kCustom
  std::shared_ptr<const AdapterSet> adapters{};  // null: the base alone
};

class Session {
 public:
  // Throws kInvalidRequest for options that make no sense.
  Session(std::shared_ptr<Model> model, SessionOptions options);

  // Appends a prompt, also after an answer, and makes ready to generate. Throws kInvalidRequest for
  // an empty prompt, a token outside the vocabulary, or more than the context holds; kCancelled
  // when `cancel` is raised, after which the session is as before the call.
  void prefill(std::span<const int32_t> tokens, const std::atomic<bool>* cancel = nullptr);

  // The next token; none when the answer has ended (state() says how). An end-of-generation token
  // ends the answer and is not given out.
  std::optional<int32_t> next_token(const std::atomic<bool>* cancel = nullptr);

  // What the tokens given out so far add to the text, in whole characters, since the last call.
  // Text that could begin a stop string is held back until the answer ends. Empty for a model
  // without a vocabulary.
  std::string take_text();

  // Forgets everything; the next answer draws anew from the same seed.
  void reset();

  SessionState state() const { return state_; }
  // Of the last token given out, when the options ask for them.
  const std::optional<Logprobs>& logprobs() const { return logprobs_; }
  std::span<const int32_t> tokens() const;
  uint64_t seed() const { return seed_; }
  // What guessing ahead did since the session was made or reset.
  SpeculationReport speculation() const;
  // The stop string that ended the answer, if one did.
  std::optional<size_t> stop_index() const;

 private:
  int64_t capacity_for(size_t n_prompt) const;
  void compute(std::span<const int32_t> tokens, int64_t n_wanted, const std::atomic<bool>* cancel);
  void advance(const std::atomic<bool>* cancel);
  Verdict judge_next();
  void begin_speculation();
  void end_verification();
  std::span<const float> row() const;

  const std::shared_ptr<Model> model_;
  const SessionOptions options_;
  const uint64_t seed_;

  SessionState state_ = SessionState::kReady;
  std::unique_ptr<SoloSequence> sequence_;
  std::optional<Generation> generation_;  // the present answer, after all before it
  std::optional<SoloSpeculation> speculation_;
  std::vector<float> logits_;  // [rows, V]: after its tokens, and after each guess beyond them
  size_t row_ = 0;             // of logits_, after the last token; guesses before it stand
  bool waits_ = false;         // the last token has not been through the model
  std::optional<Logprobs> logprobs_;
  Drawing drawing_;
};

}  // namespace realm
