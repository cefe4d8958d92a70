#include "engine/row_scan.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "engine/candidates.h"

namespace realm {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// False for NaN too.
bool usable(float logit) {
  return logit < kInfinity;
}

}  // namespace

void check_logits(std::span<const float> row) {
  REALM_CHECK(!row.empty() && row.size() <= kMaxVocab, "a row of ", row.size(),
              " logits cannot be sampled");
  unsigned refused = 0;
  for (const float logit : row) refused |= usable(logit) ? 0u : 1u;
  if (refused == 0) return;
  const auto bad = std::find_if_not(row.begin(), row.end(), usable);
  fail(ErrorCode::kFormat, "the model produced ", *bad, " as the logit of token ",
       bad - row.begin(), ": its weights, or those of an adapter, are broken");
}

float largest_of(std::span<const float> row) {
  // Independent lanes, as one chain of comparisons waits for its latency at each logit.
  std::array<float, 16> lanes;
  lanes.fill(-kInfinity);
  size_t i = 0;
  for (; i + lanes.size() <= row.size(); i += lanes.size()) {
    for (size_t j = 0; j < lanes.size(); ++j) {
      lanes[j] = row[i + j] > lanes[j] ? row[i + j] : lanes[j];
    }
  }
  for (; i < row.size(); ++i) lanes[0] = std::max(lanes[0], row[i]);
  return *std::max_element(lanes.begin(), lanes.end());
}

}  // namespace realm
