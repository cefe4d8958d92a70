// From a row of logits to a token. A pure function of its arguments: the object holds only memory
// that is reused, so a draw is the same whoever else runs, in whatever order rows are sampled, and
// when a request is resumed. One Sampler per thread; nothing is allocated once its memory has
// grown.
//
// A draw takes the largest of logit / temperature + Gumbel noise among the tokens that the filters
// left, which is a draw from their softmax. As the noise belongs to (seed, position, token), a
// draft model that samples its own logits with its target's noise mostly draws the target's token,
// and the token that stands is the one that plain sampling draws.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backend/top_logit.h"
#include "base/counter_rng.h"
#include "engine/candidates.h"
#include "engine/token_history.h"
#include "realm/sampling_params.h"

namespace realm {

// What one token is sampled from.
struct SampleRow {
  std::span<const float> logits;  // [V]; minus infinity masks a token
  const SamplingParams& params;   // validated for V
  const TokenHistory& history;    // read when there are penalties, else may be empty
};

// The law of a draw, most likely tokens first.
struct Distribution {
  std::vector<int32_t> tokens;
  std::vector<double> probabilities;  // of the same length; their sum is 1
};

class Sampler {
 public:
  // Throws kFormat if a logit is NaN or plus infinity, kInvalidRequest if every token is masked or
  // forbidden.
  int32_t sample(const SampleRow& row, TokenNoise noise);

  // What sample() draws, from the first of a row's logits in order of preference; `top` is not
  // empty, and the row has `n_vocab`, all finite. Nothing where these do not tell.
  std::optional<int32_t> sample_top(std::span<const TopLogit> top, size_t n_vocab,
                                    const SamplingParams& params, TokenNoise noise);

  // How long a list sample_top() needs at least, of the `most` it could get; 0 for the whole row.
  // Where the mass of min_p alone decides, the list may prove short all the same.
  static int64_t list_for(const SamplingParams& params, int64_t most);

  // The same filters, without the draw; a single token when the temperature is 0. Throws as
  // sample().
  void distribution(const SampleRow& row, Distribution& out);

 private:
  std::span<const float> adjusted(const SampleRow& row);
  Scale filter(std::span<const float> logits, const SamplingParams& params, float largest);
  void filter_candidates(const SamplingParams& params, const Scale& scale);

  std::vector<float> adjusted_;  // [V], when penalties or bias change the row
  std::vector<Candidate> candidates_;
};

}  // namespace realm
