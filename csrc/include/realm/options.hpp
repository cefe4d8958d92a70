// What a request may ask for. Plain values; a fresh object has the library's defaults, which stand
// in the library and nowhere in this header. Options that make no sense are refused when they are
// used, with an Error that names the field and its value.
//
// Part of realm.hpp. C++17.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "realm/error.hpp"

namespace realm {

// How keys and values are stored: part of what an answer's bits depend on.
enum class KvType : int32_t {
  f32 = REALM_KV_F32,
  f16 = REALM_KV_F16,
  bf16 = REALM_KV_BF16,
  q8_0 = REALM_KV_Q8_0,
};

// Who guesses tokens ahead: a smaller model that was loaded with the model, or what followed the
// last tokens when the prompt or the answer had them before.
enum class Drafter : int32_t { model = REALM_DRAFTER_MODEL, ngram = REALM_DRAFTER_NGRAM };

// When a guess stands. coupled: the answer is the plain one, whatever is guessed. rejection:
// accepts more at high temperatures and is exact in law, but the text of a seed depends on the
// guesses.
enum class Method : int32_t {
  coupled = REALM_METHOD_COUPLED,
  rejection = REALM_METHOD_REJECTION,
};

// How one request is sampled and when it ends. Filters apply in the order penalties, logit_bias,
// temperature, top_k, top_p, min_p.
struct SamplingParams {
  int64_t max_tokens;         // new tokens at most
  double temperature;         // divides the logits; 0 takes the most likely token
  int64_t top_k;              // keeps this many of the most likely tokens; 0 keeps all
  double top_p;               // keeps the most likely until their mass reaches this; 1 keeps all
  double min_p;               // keeps tokens at least this likely, relative to the most likely
  double repetition_penalty;  // of tokens in prompt and answer: divides, or multiplies below zero
  double presence_penalty;    // subtracted once from the logits of tokens that the answer has
  double frequency_penalty;   // subtracted as often as the answer has the token
  // The noise of every draw follows from it; without one, the report names the one that was drawn.
  std::optional<uint64_t> seed;
  bool ignore_eos;                      // generate on past the model's end-of-generation tokens
  std::optional<int64_t> logprobs;      // alternatives to report for each token; 0: the token alone
  std::vector<std::string> stop;        // the text ends before the first of these
  std::vector<int32_t> stop_token_ids;  // any of these ends the answer
  std::vector<std::pair<int32_t, float>> logit_bias;  // minus infinity forbids a token

  SamplingParams() {
    realm_sampling_params p;
    detail::check(realm_sampling_params_init(&p, sizeof p));
    max_tokens = p.max_tokens;
    temperature = p.temperature;
    top_k = p.top_k;
    top_p = p.top_p;
    min_p = p.min_p;
    repetition_penalty = p.repetition_penalty;
    presence_penalty = p.presence_penalty;
    frequency_penalty = p.frequency_penalty;
    if (p.has_seed != 0) seed = p.seed;
    ignore_eos = p.ignore_eos != 0;
    if (p.logprobs != REALM_NONE) logprobs = p.logprobs;
  }
};

// How tokens are guessed ahead. One forward of the model judges all guesses.
struct SpeculativeConfig {
  int64_t draft_k;            // guesses per forward: when adaptive, at first; else always
  int64_t max_draft_tokens;   // upper limit of that, at most 16
  Drafter drafter;            // who guesses
  bool adaptive;              // choose the number from measured acceptance and costs, 0 included
  Method method;              // when a guess stands
  std::string draft_adapter;  // an adapter of the draft model; empty for none

  SpeculativeConfig() {
    realm_speculative_config s;
    detail::check(realm_speculative_config_init(&s, sizeof s));
    draft_k = s.draft_k;
    max_draft_tokens = s.max_draft_tokens;
    drafter = static_cast<Drafter>(s.drafter);
    adaptive = s.adaptive != 0;
    method = static_cast<Method>(s.method);
  }
};

namespace detail {

// The C structs of options, and what they point to. Made for one call, beside the options.
class CSampling {
 public:
  explicit CSampling(const SamplingParams& from) {
    check(realm_sampling_params_init(&params_, sizeof params_));
    params_.max_tokens = from.max_tokens;
    params_.temperature = from.temperature;
    params_.top_k = from.top_k;
    params_.top_p = from.top_p;
    params_.min_p = from.min_p;
    params_.repetition_penalty = from.repetition_penalty;
    params_.presence_penalty = from.presence_penalty;
    params_.frequency_penalty = from.frequency_penalty;
    params_.has_seed = from.seed.has_value();
    params_.seed = from.seed.value_or(0);
    params_.ignore_eos = from.ignore_eos;
    params_.logprobs = from.logprobs.value_or(REALM_NONE);
    for (const std::string& text : from.stop) stop_.push_back({text.data(), text.size()});
    for (const auto& [token, bias] : from.logit_bias) bias_.push_back({token, bias});
    params_.stop = stop_.data();
    params_.n_stop = stop_.size();
    params_.stop_token_ids = from.stop_token_ids.data();
    params_.n_stop_token_ids = from.stop_token_ids.size();
    params_.logit_bias = bias_.data();
    params_.n_logit_bias = bias_.size();
  }
  CSampling(const CSampling&) = delete;
  CSampling& operator=(const CSampling&) = delete;

  const realm_sampling_params* get() const { return &params_; }

 private:
  realm_sampling_params params_;
  std::vector<realm_text> stop_;
  std::vector<realm_logit_bias> bias_;
};

inline realm_speculative_config c_struct_of(const SpeculativeConfig& from) {
  realm_speculative_config s;
  check(realm_speculative_config_init(&s, sizeof s));
  s.draft_k = from.draft_k;
  s.max_draft_tokens = from.max_draft_tokens;
  s.drafter = static_cast<int32_t>(from.drafter);
  s.adaptive = from.adaptive;
  s.method = static_cast<int32_t>(from.method);
  s.draft_adapter = {from.draft_adapter.data(), from.draft_adapter.size()};
  return s;
}

}  // namespace detail
}  // namespace realm
