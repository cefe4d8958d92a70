// What is kept of a request that is speculated, besides its guesses. For one thread.
#pragma once

#include <memory>
#include <vector>

#include "engine/speculative/cost_curve.h"
#include "engine/speculative/draft_length.h"
#include "engine/speculative/drafter.h"
#include "realm/speculation_report.h"
#include "realm/speculative_config.h"

namespace realm {

// A drafter with what its requests have taught about it.
struct DrafterRecord {
  std::shared_ptr<Drafter> drafter;
  CostCurve costs;  // of one place, by the requests that guess there
  AcceptanceEstimate acceptance;
};

struct Speculation {
  SpeculativeConfig config;
  std::shared_ptr<DrafterRecord> record;  // null once the request goes on plainly
  AcceptanceEstimate acceptance;
  ProbeSchedule probes;
  bool is_probing = false;         // wants guesses though they seemed not to pay
  bool waits_for_verdict = false;  // has guesses that the drafter was not told about
  std::vector<Distribution> laws;  // that the guesses were drawn from, or empty
  SpeculationReport report;

  // The guesses to ask for where `planned` seem best and `limit` make sense. A request for which
  // none are planned tries again now and then.
  int64_t choose_length(int64_t planned, int64_t limit);
  // Of n_drafted guesses n_accepted stand, and the forward gave n_tokens in all. Returns how many
  // were judged.
  int64_t record_verdict(int64_t n_drafted, int64_t n_accepted, int64_t n_tokens);
};

}  // namespace realm
