#include "engine/validate_params.h"

#include <cmath>
#include <string_view>

#include "base/error.h"

namespace realm {

namespace {

void check_range(const char* name, int64_t value, int64_t low, int64_t high,
                 const char* note = "") {
  REALM_CHECK(value >= low && value <= high, name, " must be from ", low, " to ", high, note,
              ", is ", value);
}

void check_finite(const char* name, double value) {
  REALM_CHECK(std::isfinite(value), name, " must be finite, is ", value);
}

void check_numbers(const SamplingParams& params) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  check_range("max_tokens", params.max_tokens, 1, kMax);
  REALM_CHECK(params.temperature >= 0 && std::isfinite(params.temperature),
              "temperature must be finite and at least 0, is ", params.temperature);
  check_range("top_k", params.top_k, 0, kMax, " (0 keeps all tokens)");
  REALM_CHECK(params.top_p > 0 && params.top_p <= 1, "top_p must be above 0 and at most 1, is ",
              params.top_p);
  REALM_CHECK(params.min_p >= 0 && params.min_p <= 1, "min_p must be from 0 to 1, is ",
              params.min_p);
  REALM_CHECK(params.repetition_penalty > 0 && std::isfinite(params.repetition_penalty),
              "repetition_penalty must be finite and above 0, is ", params.repetition_penalty);
  check_finite("presence_penalty", params.presence_penalty);
  check_finite("frequency_penalty", params.frequency_penalty);
  if (params.logprobs) check_range("logprobs", *params.logprobs, 0, kMaxLogprobs);
}

void check_token(const char* name, int32_t token, int64_t n_vocab) {
  REALM_CHECK(token >= 0 && token < n_vocab, name, " has token id ", token,
              ", which is not in the vocabulary of ", n_vocab);
}

void check_stops(const SamplingParams& params, int64_t n_vocab) {
  REALM_CHECK(params.stop.size() <= kMaxStops, "stop has ", params.stop.size(),
              " strings; the limit is ", kMaxStops);
  for (const std::string& stop : params.stop) {
    REALM_CHECK(!stop.empty(), "stop has an empty string, which would end every text at once");
    REALM_CHECK(stop.size() <= kMaxStopBytes, "stop has a string of ", stop.size(),
                " bytes; the limit is ", kMaxStopBytes);
  }
  REALM_CHECK(params.stop_token_ids.size() <= kMaxStopTokens, "stop_token_ids has ",
              params.stop_token_ids.size(), " ids; the limit is ", kMaxStopTokens);
  for (const int32_t token : params.stop_token_ids) check_token("stop_token_ids", token, n_vocab);
}

void check_bias(const SamplingParams& params, int64_t n_vocab) {
  for (const auto& [token, bias] : params.logit_bias) {
    check_token("logit_bias", token, n_vocab);
    REALM_CHECK(std::isfinite(bias) || bias < 0, "logit_bias of token ", token,
                " must be finite or minus infinity, is ", bias);
  }
}

}  // namespace

void validate(const SamplingParams& params, int64_t n_vocab) {
  check_numbers(params);
  check_stops(params, n_vocab);
  check_bias(params, n_vocab);
  REALM_CHECK(!params.grammar,
              "grammar needs constrained decoding, which this version does not have");
}

}  // namespace realm
