#include "engine/speculative/speculation.h"

#include <algorithm>

namespace realm {

namespace {

constexpr int64_t kProbeLength = 2;

void note_length(SpeculationReport& report, int64_t k) {
  auto& history = report.k_history;
  if (history.size() == SpeculationReport::kHistory) history.erase(history.begin());
  history.push_back(static_cast<int32_t>(k));
}

void count(std::vector<int64_t>& at, int64_t n) {
  if (std::ssize(at) < n) at.resize(static_cast<size_t>(n), 0);
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) ++at[i];
}

}  // namespace

int64_t Speculation::choose_length(int64_t planned, int64_t limit) {
  if (planned > 0) {
    probes.reset();
    is_probing = false;
  } else if (!is_probing && probes.tick()) {
    is_probing = true;
    acceptance.loosen();
  }
  const int64_t wanted = is_probing ? kProbeLength : planned;
  if (wanted == 0) report.status = "on: guesses do not pay now";
  const int64_t length = std::min(wanted, limit);
  note_length(report, length);
  return length;
}

int64_t Speculation::record_verdict(int64_t n_drafted, int64_t n_accepted, int64_t n_tokens) {
  // The answer may end with a guess that stands: those after it were not judged.
  const int64_t n_judged = n_tokens > n_accepted ? std::min(n_drafted, n_accepted + 1) : n_accepted;
  ++report.verifications;
  report.drafted += n_drafted;
  report.accepted += n_accepted;
  report.tokens += n_tokens;
  count(report.judged_at, n_judged);
  count(report.accepted_at, n_accepted);
  acceptance.record(n_judged, n_accepted);
  return n_judged;
}

}  // namespace realm
