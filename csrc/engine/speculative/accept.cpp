#include "engine/speculative/accept.h"

#include <algorithm>
#include <vector>

namespace realm {

namespace {

double probability_of(const Distribution& law, int32_t token) {
  const auto at = std::find(law.tokens.begin(), law.tokens.end(), token);
  return at == law.tokens.end() ? 0
                                : law.probabilities[static_cast<size_t>(at - law.tokens.begin())];
}

double draft_probability(const DraftedToken& drafted) {
  return drafted.law ? probability_of(*drafted.law, drafted.token) : 1;
}

// The draft's law by ascending token, so that a residual over a whole vocabulary is not quadratic.
class Covered {
 public:
  explicit Covered(const DraftedToken& drafted) {
    if (!drafted.law) {
      by_token_.emplace_back(drafted.token, 1.0);
      return;
    }
    by_token_.reserve(drafted.law->tokens.size());
    for (size_t i = 0; i < drafted.law->tokens.size(); ++i) {
      by_token_.emplace_back(drafted.law->tokens[i], drafted.law->probabilities[i]);
    }
    std::sort(by_token_.begin(), by_token_.end());
  }

  double operator()(int32_t token) const {
    const auto at = std::lower_bound(by_token_.begin(), by_token_.end(), std::pair{token, -1.0});
    return at != by_token_.end() && at->first == token ? at->second : 0;
  }

 private:
  std::vector<std::pair<int32_t, double>> by_token_;
};

// A draw from max(target - draft, 0), renormalised; `fallback` where rounding left nothing of it.
int32_t draw_residual(const Distribution& target, const DraftedToken& drafted, Uniform& uniform) {
  const Covered covered(drafted);
  std::vector<double> rest(target.tokens.size());
  double total = 0;
  for (size_t i = 0; i < rest.size(); ++i) {
    rest[i] = std::max(0.0, target.probabilities[i] - covered(target.tokens[i]));
    total += rest[i];
  }
  int32_t token = drafted.token;
  double sum = 0;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == 0) continue;
    token = target.tokens[i];
    sum += rest[i];
    if (uniform.below(sum / total)) break;
  }
  return token;
}

}  // namespace

Verdict accept_by_rejection(const Distribution& target, const DraftedToken& drafted,
                            const RejectionNoise& noise) {
  const double wanted = probability_of(target, drafted.token);
  const double offered = draft_probability(drafted);
  if (wanted >= offered || noise.accept.below(wanted / offered)) return {drafted.token, true};
  const int32_t token = draw_residual(target, drafted, noise.residual);
  return {token, token == drafted.token};
}

}  // namespace realm
