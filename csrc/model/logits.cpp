#include "model/logits.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "base/error.h"

namespace realm {

namespace {

// Sixteen at a time without a branch, which the compiler makes one comparison of.
bool all_finite(std::span<const float> values) {
  constexpr size_t kTogether = 16;
  constexpr uint32_t kExponent = 0x7f800000;
  while (values.size() >= kTogether) {
    uint32_t refused = 0;
    for (size_t i = 0; i < kTogether; ++i) {
      refused |= (std::bit_cast<uint32_t>(values[i]) & kExponent) == kExponent ? 1u : 0u;
    }
    if (refused != 0) return false;
    values = values.subspan(kTogether);
  }
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

}  // namespace

void require_finite(std::span<const float> logits) {
  if (all_finite(logits)) return;
  const float bad = *std::ranges::find_if_not(logits, [](float v) { return std::isfinite(v); });
  fail(ErrorCode::kFormat, "the model computes ", bad,
       " as a logit: its weights, or adapters at their scale, hold NaN, infinite or huge values");
}

}  // namespace realm
