// How many tokens to guess. A pure function of what has been measured: each request's acceptance
// and what steps of any width cost. It maximises the tokens per second of the whole step, so that
// with many sequences, where a row costs more, it drafts less or not at all.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace realm {

// A request that may be speculated in this step.
struct DraftCandidate {
  double acceptance;  // that a guess stands if those before it do
  int64_t max_draft_tokens;
};

// The rest of the step, and its price.
struct StepOutlook {
  int64_t n_rows = 0;    // without guesses, those candidates' own rows included
  int64_t n_tokens = 0;  // that these rows give: one per decoding sequence
  int64_t max_guesses = std::numeric_limits<int64_t>::max();  // of all candidates together
  std::function<double(int64_t rows)> verify_seconds;
  // One guess for each of `requests` together.
  std::function<double(int64_t requests)> draft_seconds;
};

// Guesses for each candidate, 0 included.
std::vector<int64_t> plan_draft_lengths(std::span<const DraftCandidate> candidates,
                                        const StepOutlook& outlook);

// Tokens that a verification of `n_drafted` guesses gives on average.
double expected_tokens(double acceptance, int64_t n_drafted);

// The acceptance of one request, from its late verifications.
class AcceptanceEstimate {
 public:
  // Begins at `prior`, which counts as much as a few verifications.
  explicit AcceptanceEstimate(double prior = kPrior) : judged_(kPriorWeight) {
    accepted_ = prior * judged_;
  }

  void record(int64_t n_drafted, int64_t n_accepted);
  double value() const { return accepted_ / judged_; }
  // Lets the next few verifications count more than all before them.
  void loosen();

  static constexpr double kPrior = 0.7;

 private:
  static constexpr double kPriorWeight = 2, kLooseWeight = 3;
  static constexpr double kMemory = 0.98;  // what a judged guess leaves of those before it

  double accepted_, judged_;
};

// When a request whose best length is 0 tries again: after 32 tokens, then after twice as many each
// time.
class ProbeSchedule {
 public:
  // One more token without guesses; true if it is time to guess.
  bool tick();
  // Guessing pays again.
  void reset() { *this = {}; }

 private:
  static constexpr int64_t kFirst = 32, kLast = 1024;
  int64_t interval_ = kFirst, waited_ = 0;
};

}  // namespace realm
