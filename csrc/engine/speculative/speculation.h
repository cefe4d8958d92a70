// What the engine keeps of a request that is speculated, besides its guesses. Plain data of the
// engine's thread.
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
};

}  // namespace realm
