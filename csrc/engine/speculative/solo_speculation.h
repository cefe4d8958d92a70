// Guesses for one sequence by itself (engine/session.h): asks a drafter, decides how many are worth
// while, and keeps the record. Whatever goes wrong in the drafter, there are no more guesses and
// the status says why. One thread at a time.
#pragma once

#include <memory>
#include <span>

#include "engine/generation.h"
#include "engine/speculative/accept.h"
#include "engine/speculative/speculation.h"

namespace realm {

class SoloSpeculation {
 public:
  // A drafter that is null failed before it began, and why.
  SoloSpeculation(const SpeculativeConfig& config, std::shared_ptr<Drafter> drafter,
                  const std::string& why_none, int64_t n_vocab);

  // New guesses for the tokens after those of `generation`, `limit` at most; perhaps none.
  std::span<const int32_t> guess(const Generation& generation, int64_t limit, int64_t max_length);
  // The guess at i, or null.
  const DraftedToken* drafted(size_t i);
  // The forward over the guesses, and one row more, took so long.
  void note_forward(double seconds);
  // Of the last guesses n_accepted stand.
  void settle(int64_t n_accepted, int64_t n_tokens);
  // The sequence begins anew.
  void forget();

  const SpeculativeConfig& config() const { return state_.config; }
  const SpeculationReport& report() const { return state_.report; }

 private:
  int64_t planned_length(int64_t limit) const;
  void take(Draft& draft, int64_t n_wanted, double seconds);
  void fail(const std::string& why);

  static constexpr uint64_t kId = 0;

  const int64_t n_vocab_;
  Speculation state_;
  CostCurve verify_costs_;
  std::vector<int32_t> guesses_;
  DraftedToken drafted_{};
};

}  // namespace realm
