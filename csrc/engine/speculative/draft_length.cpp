#include "engine/speculative/draft_length.h"

#include <algorithm>
#include <queue>

namespace realm {

namespace {

// The next guess of a candidate and the tokens it gives on average.
struct Offer {
  double tokens;
  size_t candidate;

  // Ties go to the earlier candidate.
  bool operator<(const Offer& other) const {
    return tokens < other.tokens || (tokens == other.tokens && candidate > other.candidate);
  }
};

// What a step with some guesses costs; guesses are added one by one.
class Price {
 public:
  explicit Price(const StepOutlook& outlook) : outlook_(outlook), rows_(outlook.n_rows) {}

  // A guess of a request that has `depth` already.
  void add(int64_t depth) {
    const auto at = static_cast<size_t>(depth);
    if (at == requests_.size()) requests_.push_back(0);
    if (requests_[at] > 0) draft_ -= outlook_.draft_seconds(requests_[at]);
    draft_ += outlook_.draft_seconds(++requests_[at]);
    ++rows_;
  }

  double seconds() const { return outlook_.verify_seconds(rows_) + draft_; }

 private:
  const StepOutlook& outlook_;
  int64_t rows_;
  std::vector<int64_t> requests_;  // that guess at each depth
  double draft_ = 0;
};

}  // namespace

std::vector<int64_t> plan_draft_lengths(std::span<const DraftCandidate> candidates,
                                        const StepOutlook& outlook) {
  std::priority_queue<Offer> offers;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].max_draft_tokens > 0) offers.push({candidates[i].acceptance, i});
  }
  Price price(outlook);
  double tokens = static_cast<double>(outlook.n_tokens);
  // Compared as products: nothing is known of a time that is 0.
  double best_tokens = tokens, best_seconds = price.seconds();
  std::vector<int64_t> lengths(candidates.size(), 0), best = lengths;
  for (int64_t n = 0; n < outlook.max_guesses && !offers.empty(); ++n) {
    const Offer offer = offers.top();
    offers.pop();
    const DraftCandidate& candidate = candidates[offer.candidate];
    int64_t& length = lengths[offer.candidate];
    price.add(length);
    tokens += offer.tokens;
    if (++length < candidate.max_draft_tokens) {
      offers.push({offer.tokens * candidate.acceptance, offer.candidate});
    }
    if (tokens * best_seconds > best_tokens * price.seconds()) {
      best = lengths;
      best_tokens = tokens;
      best_seconds = price.seconds();
    }
  }
  return best;
}

double expected_tokens(double acceptance, int64_t n_drafted) {
  double sum = 1, power = 1;
  for (int64_t i = 0; i < n_drafted; ++i) sum += power *= acceptance;
  return sum;
}

void AcceptanceEstimate::record(int64_t n_drafted, int64_t n_accepted) {
  // Guesses after the first refused one were not judged.
  const int64_t n_judged = std::min(n_drafted, n_accepted + 1);
  for (int64_t i = 0; i < n_judged; ++i) {
    judged_ = judged_ * kMemory + 1;
    accepted_ = accepted_ * kMemory + (i < n_accepted ? 1 : 0);
  }
}

void AcceptanceEstimate::loosen() {
  if (judged_ <= kLooseWeight) return;
  accepted_ *= kLooseWeight / judged_;
  judged_ = kLooseWeight;
}

bool ProbeSchedule::tick() {
  if (++waited_ < interval_) return false;
  waited_ = 0;
  interval_ = std::min(interval_ * 2, kLast);
  return true;
}

}  // namespace realm
