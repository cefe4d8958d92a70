// What speculation did for one request so far. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace realm {

struct SpeculationReport {
  // "off" where none was asked for; "on", with a reason after a colon while nothing is guessed; or
  // "failed: " and why the request goes on plainly.
  std::string status = "off";

  int64_t drafted = 0;        // guesses that were verified
  int64_t accepted = 0;       // guesses that stand
  int64_t verifications = 0;  // forwards that judged at least one guess
  int64_t tokens = 0;         // that those forwards gave: accepted, and one each after them

  // [i]: guesses at the i-th place of a verification that were judged, and that stood. A guess
  // after a refused one is not judged.
  std::vector<int64_t> judged_at, accepted_at;
  // Guesses asked for in each of the last steps, 0 included, oldest first; at most kHistory.
  std::vector<int32_t> k_history;
  static constexpr size_t kHistory = 256;

  // This request's share of the time of steps.
  double draft_seconds = 0, verify_seconds = 0;

  // [i]: the share of guesses judged at the i-th place that stood.
  std::vector<double> acceptance() const {
    std::vector<double> shares;
    for (size_t i = 0; i < judged_at.size(); ++i) {
      const double n = i < accepted_at.size() ? static_cast<double>(accepted_at[i]) : 0;
      shares.push_back(n / static_cast<double>(judged_at[i]));
    }
    return shares;
  }
  double tokens_per_verification() const {
    return verifications > 0 ? static_cast<double>(tokens) / static_cast<double>(verifications) : 0;
  }
};

}  // namespace realm
