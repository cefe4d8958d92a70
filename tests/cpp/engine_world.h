// What the engine's suites share: models, requests, and the reference that every answer is compared
// with. The reference is a sequence by itself in one piece (SoloSequence), drawn from by the same
// Generation.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpp/harness.h"
#include "engine/engine.h"
#include "engine/logits_hash.h"
#include "model/solo_sequence.h"

namespace realm::test {

using Tokens = std::vector<int32_t>;
using Random = std::mt19937;

inline int64_t between(Random& random, int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random);
}

inline std::shared_ptr<Model> load(const std::string& path, int n_threads = 2) {
  return Model::load(gguf::GgufFile::open(path), {.n_threads = n_threads, .load = {}});
}

inline std::shared_ptr<Model> golden(const std::string& name, int n_threads = 2) {
  return load(concat(REALM_GOLDEN_DIR "/", name, ".gguf"), n_threads);
}

inline std::shared_ptr<Model> demo(int n_threads = 2) {
  return load(REALM_GOLDEN_DIR "/../../python/realm_ext/demo/target.gguf", n_threads);
}

inline Tokens random_tokens(Random& random, int64_t n, int64_t n_vocab) {
  Tokens tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens) token = static_cast<int32_t>(between(random, 0, n_vocab - 1));
  return tokens;
}

// An answer, whoever computed it.
struct Answer {
  Tokens tokens;
  std::string text;
  FinishReason reason = FinishReason::kError;
  uint64_t hash = 0;  // of all logits that it was sampled from

  bool operator==(const Answer&) const = default;
};

// The answer of a request alone.
inline Answer alone(const std::shared_ptr<Model>& model, const RequestOptions& options,
                    KvType type) {
  const auto n_prompt = static_cast<int64_t>(options.prompt.size());
  const int64_t length = planned_length(n_prompt, options.params.max_tokens, model->config().n_ctx);
  SoloSequence sequence(model,
                        {.kv_type = type, .max_tokens = length, .adapters = options.adapter_set});
  Generation generation(model->vocabulary(), options.params, *options.params.seed, options.prompt,
                        length);
  Drawing drawing;
  std::vector<float> logits(static_cast<size_t>(model->config().n_vocab));
  Answer answer;
  sequence.append(options.prompt, 1, logits.data());
  for (;;) {
    answer.hash = hash_logits(answer.hash, logits);
    const int32_t token = generation.draw(logits, drawing);
    if (generation.take(token)) answer.tokens.push_back(token);
    if (!generation.finish() && generation.is_full()) generation.end(FinishReason::kLength);
    if (generation.finish()) break;
    sequence.append({&token, 1}, 1, logits.data());
  }
  answer.text = generation.take_text();
  answer.reason = generation.finish()->reason;
  return answer;
}

// Adds a piece to what came before it.
inline void add(Answer& answer, Piece piece) {
  answer.tokens.insert(answer.tokens.end(), piece.tokens.begin(), piece.tokens.end());
  answer.text += piece.text;
  if (piece.finish) answer.reason = piece.finish->reason;
}

// Waits for the end; the whole answer.
inline Answer answer_of(Request& request) {
  Answer answer;
  while (!request.wait_end(std::chrono::seconds(60))) {
    report_failure(__FILE__, __LINE__, "a request did not end within a minute");
  }
  add(answer, request.take());
  answer.hash = request.report().logits_hash;
  return answer;
}

}  // namespace realm::test
