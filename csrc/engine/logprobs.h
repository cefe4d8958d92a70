// Log-probabilities as users ask for them: those of the model, from its logits as they came, before
// penalties, bias, temperature and filters. So they compare between requests, and a chosen token
// may have a lower one than tokens that were filtered or penalized away.
//
// A pure function: the object holds only memory that is reused. One per thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/candidates.h"

namespace realm {

struct TokenLogprob {
  int32_t token;
  float logprob;  // natural; minus infinity for a masked token

  bool operator==(const TokenLogprob&) const = default;
};

struct Logprobs {
  float chosen = 0;
  std::vector<TokenLogprob>
      top;  // most likely first, ties by lower id; fewer where tokens are masked

  bool operator==(const Logprobs&) const = default;
};

class LogprobReader {
 public:
  // The log-probability of `token` and of the `n_top` most likely tokens. Throws kFormat if a logit
  // is NaN or plus infinity, kInvalidRequest if all are masked or `token` is outside the row.
  void read(std::span<const float> logits, int32_t token, size_t n_top, Logprobs& out);

 private:
  std::vector<Candidate> top_;
};

}  // namespace realm
