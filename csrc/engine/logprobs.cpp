#include "engine/logprobs.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/exp_log.h"
#include "engine/row_scan.h"

namespace realm {

namespace {

// The sum of e^(logit - largest). Four running sums, added in a fixed order.
double sum_of_exp(std::span<const float> row, double largest) {
  std::array<double, 4> sums{};
  for (size_t i = 0; i < row.size(); ++i) {
    sums[i % sums.size()] += portable_exp(static_cast<double>(row[i]) - largest);
  }
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace

void LogprobReader::read(std::span<const float> logits, int32_t token, size_t n_top,
                         Logprobs& out) {
  check_logits(logits);
  REALM_CHECK(token >= 0 && static_cast<size_t>(token) < logits.size(), "token ", token,
              " is not in the vocabulary of ", logits.size());
  const double largest = largest_of(logits);
  REALM_CHECK(largest != -std::numeric_limits<double>::infinity(), "all ", logits.size(),
              " tokens are masked");
  const double log_sum = portable_log(sum_of_exp(logits, largest));
  const auto logprob = [&](float logit) {
    return static_cast<float>(static_cast<double>(logit) - largest - log_sum);
  };

  out.chosen = logprob(logits[static_cast<size_t>(token)]);
  out.top.clear();
  if (n_top == 0) return;
  select_top_k(logits, n_top, top_);
  std::sort(top_.begin(), top_.end(), precedes);
  for (const Candidate& c : top_) out.top.push_back({c.token, logprob(c.logit)});
}

}  // namespace realm
