#include "engine/sampler.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "engine/row_scan.h"

namespace realm {

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1 || params.presence_penalty != 0 ||
         params.frequency_penalty != 0;
}

// Rounds to float; what overflows saturates, so that only a mask is infinite.
float to_logit(double value) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value, -kLargest, kLargest));
}

float penalized(float logit, const TokenHistory::Seen& seen, const SamplingParams& params) {
  double value = logit;
  if (seen.in_prompt || seen.n_output > 0) {
    value = value > 0 ? value / params.repetition_penalty : value * params.repetition_penalty;
  }
  if (seen.n_output > 0) {
    value -= params.frequency_penalty * seen.n_output;
    value -= params.presence_penalty;
  }
  return to_logit(value);
}

void penalize(std::span<float> row, const SamplingParams& params, const TokenHistory& history) {
  for (const TokenHistory::Seen& seen : history.seen()) {
    REALM_CHECK(static_cast<size_t>(seen.token) < row.size(), "token ", seen.token,
                " of the history is not in the vocabulary of ", row.size());
    float& logit = row[static_cast<size_t>(seen.token)];
    if (logit != kForbidden) logit = penalized(logit, seen, params);
  }
}

void add_bias(std::span<float> row, const SamplingParams& params) {
  for (const auto& [token, bias] : params.logit_bias) {
    REALM_DCHECK(static_cast<size_t>(token) < row.size());
    float& logit = row[static_cast<size_t>(token)];
    if (bias == kForbidden) logit = kForbidden;
    if (logit != kForbidden) logit = to_logit(static_cast<double>(logit) + bias);
  }
}

float checked_largest(std::span<const float> row) {
  const float largest = largest_of(row);
  REALM_CHECK(largest != kForbidden, "no token is left to sample: all ", row.size(),
              " are masked or forbidden by logit_bias");
  return largest;
}

// The lowest id among the largest logits.
int32_t greedy(std::span<const float> row, float largest) {
  return static_cast<int32_t>(std::find(row.begin(), row.end(), largest) - row.begin());
}

// Whether min_p keeps none of the logits up to this one, and nothing before it asks for their mass.
bool all_below_go(float logit, const SamplingParams& params, const Scale& scale) {
  return params.top_p >= 1 && params.min_p > 0 && scale(logit) < portable_log(params.min_p);
}

// Whether the Gumbel noise of `uniform` surely stays below `lead`. It exceeds `lead` only where
// -ln u < e^-lead, and 1 - u <= -ln u, e^-lead <= (1 + lead / 8)^-8: where both bounds are close to
// equality, u is near 1 and the lead near 0, this is far from true, so rounding cannot matter. It
// spares a sweep over the vocabulary nearly all logarithms.
bool surely_below(double uniform, double lead) {
  if (!(lead > 0)) return false;
  const double root = 1 + lead * 0.125;
  const double square = root * root, fourth = square * square;
  return (1 - uniform) * (fourth * fourth) > 1;
}

int32_t draw(std::span<const Candidate> candidates, const Scale& scale, TokenNoise noise) {
  double best = -std::numeric_limits<double>::infinity();
  int32_t token = std::numeric_limits<int32_t>::max();
  for (const Candidate& candidate : candidates) {
    const double exponent = scale(candidate.logit);
    const double uniform = noise.uniform(candidate.token);
    if (surely_below(uniform, best - exponent)) continue;
    const double value = exponent + TokenNoise::gumbel_of(uniform);
    if (value > best || (value == best && candidate.token < token)) {
      best = value;
      token = candidate.token;
    }
  }
  return token;
}

void softmax(std::span<const Candidate> candidates, const Scale& scale, Distribution& out) {
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    out.tokens.push_back(candidate.token);
    out.probabilities.push_back(portable_exp(scale(candidate.logit)));
    sum += out.probabilities.back();
  }
  for (double& probability : out.probabilities) probability /= sum;
}

}  // namespace

std::span<const float> Sampler::adjusted(const SampleRow& row) {
  check_logits(row.logits);
  if (!has_penalties(row.params) && row.params.logit_bias.empty()) return row.logits;
  adjusted_.assign(row.logits.begin(), row.logits.end());
  if (has_penalties(row.params)) penalize(adjusted_, row.params, row.history);
  add_bias(adjusted_, row.params);
  return adjusted_;
}

Scale Sampler::filter(std::span<const float> logits, const SamplingParams& params, float largest) {
  const Scale scale{largest, params.temperature};
  select_top_k(logits, static_cast<size_t>(params.top_k), candidates_);
  filter_candidates(params, scale);
  return scale;
}

void Sampler::filter_candidates(const SamplingParams& params, const Scale& scale) {
  keep_top_p(candidates_, scale, params.top_p);
  keep_min_p(candidates_, scale, params.min_p);
}

int64_t Sampler::list_for(const SamplingParams& params, int64_t most) {
  if (has_penalties(params) || !params.logit_bias.empty()) return 0;
  if (params.temperature == 0) return std::min<int64_t>(1, most);
  if (params.top_k > 0 && params.top_k <= most) return params.top_k;
  return params.top_p >= 1 && params.min_p > 0 ? most : 0;
}

std::optional<int32_t> Sampler::sample_top(std::span<const TopLogit> top, size_t n_vocab,
                                           const SamplingParams& params, TokenNoise noise) {
  if (has_penalties(params) || !params.logit_bias.empty()) return std::nullopt;
  if (params.temperature == 0) return top.front().token;
  const Scale scale{top.front().logit, params.temperature};
  const auto top_k = static_cast<size_t>(params.top_k);
  const bool has_top_k = top.size() == n_vocab || (top_k > 0 && top_k <= top.size());
  if (!has_top_k && !all_below_go(top.back().logit, params, scale)) return std::nullopt;
  candidates_.clear();
  const size_t n = top_k > 0 ? std::min(top_k, top.size()) : top.size();
  for (const TopLogit& one : top.first(n)) candidates_.push_back({one.logit, one.token});
  filter_candidates(params, scale);
  return draw(candidates_, scale, noise);
}

int32_t Sampler::sample(const SampleRow& row, TokenNoise noise) {
  const std::span<const float> logits = adjusted(row);
  const float largest = checked_largest(logits);
  if (row.params.temperature == 0) return greedy(logits, largest);
  const Scale scale = filter(logits, row.params, largest);
  return draw(candidates_, scale, noise);
}

void Sampler::distribution(const SampleRow& row, Distribution& out) {
  out.tokens.clear();
  out.probabilities.clear();
  const std::span<const float> logits = adjusted(row);
  const float largest = checked_largest(logits);
  if (row.params.temperature == 0) {
    out.tokens.push_back(greedy(logits, largest));
    out.probabilities.push_back(1);
    return;
  }
  const Scale scale = filter(logits, row.params, largest);
  std::sort(candidates_.begin(), candidates_.end(), precedes);
  softmax(candidates_, scale, out);
}

}  // namespace realm
