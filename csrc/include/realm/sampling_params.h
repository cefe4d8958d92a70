// How one request is sampled and when it ends: plain options, each default stated here and nowhere
// else. Filters apply in the order penalties, logit_bias, temperature, top_k, top_p, min_p.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace realm {

struct SamplingParams {
  // New tokens at most.
  int64_t max_tokens = 512;

  // Divides the logits; 0 takes the most likely token and draws nothing.
  double temperature = 0.7;
  // Keeps this many of the most likely tokens; 0 keeps all.
  int64_t top_k = 40;
  // Keeps the most likely tokens until their mass reaches this part of what top_k left; 1 keeps
  // all.
  double top_p = 0.9;
  // Keeps tokens at least this likely, relative to the most likely one; 0 keeps all.
  double min_p = 0.0;

  // Tokens of the prompt and of the output: a positive logit is divided by it, a negative one
  // multiplied. 1 changes nothing.
  double repetition_penalty = 1.0;
  // Subtracted once from the logits of tokens that the output has; not of those only in the prompt.
  double presence_penalty = 0.0;
  // Subtracted as many times as the output has the token.
  double frequency_penalty = 0.0;

  // The noise of every draw follows from it. Without one, each request gets a fresh one.
  std::optional<uint64_t> seed;

  // The text ends before the first of these that appears, wherever token borders lie.
  std::vector<std::string> stop;
  // Any of these ends the request, as the end-of-generation tokens of the model do.
  std::vector<int32_t> stop_token_ids;
  // Generates on past the model's end-of-generation tokens.
  bool ignore_eos = false;

  // Number of most likely alternatives to report for each position; 0 reports the chosen token
  // alone. Log-probabilities are those of the model: before penalties, bias, temperature and
  // filters.
  std::optional<int64_t> logprobs;
  // Added to the logits of single tokens; minus infinity forbids one.
  std::map<int32_t, float> logit_bias;
  // A grammar that the output must match. No version understands one yet: it is refused.
  std::optional<std::string> grammar;

  bool operator==(const SamplingParams&) const = default;
};

}  // namespace realm
