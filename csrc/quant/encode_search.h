// What the searching encoders share. A superblock's quantized scales make its error a function of
// few small integers, so they search instead of solving: fit the scale of each sub-block alone,
// take the float scale of the superblock from the largest of them, then settle each sub-block on
// the integers near its fit that have the least error as a decoder will see it. The criterion is
// the plain sum of squared errors.
//
// Every search here tries kCandidates scales side by side: value after value, the inner loop runs
// over the candidates. Sums then need no reordering, so compilers vectorise them under strict float
// rules and every machine gets the same bytes.
//
// Private to quant/encode_*.cpp; pure functions over the caller's memory.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "base/half.h"

namespace realm::search {

constexpr int kSuperBlock = 256;

constexpr size_t kCandidates = 16;
using Candidates = std::array<float, kCandidates>;

// Half of the smallest step that a half-precision scale of 2^-24 can express: values whose spread
// is below it are best encoded with scale 0, which also keeps every inverse here finite.
constexpr float kNegligible = 0x1p-25f;

// Inputs are clamped to this. No format reaches as far (Q6_K, the widest, ends at 65504 * 128 *
// 32), and 256 squares of it still have a float sum.
constexpr float kReach = 0x1p29f;

// The integers lo .. hi as levels of a quant.
struct UniformGrid {
  float lo, hi;

  // Nearest level to y, ties to even. Adding 1.5 * 2^23 makes the adder round to integers, without
  // a conversion that out-of-range values would make undefined and that SSE2 has no instruction
  // for.
  float nearest(float y) const {
    constexpr float kRounder = 0x1.8p23f;
    y = y < lo ? lo : y;
    y = y > hi ? hi : y;
    return (y + kRounder) - kRounder;
  }
};

// 1 / scale, and 0 for scale 0. The select stands inside the division so that the division
// vectorises.
inline float inverse_or_zero(float scale) {
  return 1 / (scale != 0 ? scale : std::numeric_limits<float>::infinity());
}

// The float nearest to a nonzero `scale` that a block can store as a half: saturated at 65504, and
// never rounded to 0, which would erase a block that the smallest half still describes.
inline float storable_scale(float scale) {
  if (scale == 0) return 0;
  const float magnitude = std::clamp(std::fabs(scale), 0x1p-24f, 65504.0f);
  return std::copysign(f16_to_f32(f32_to_f16(magnitude)), scale);
}

inline void copy_within_reach(const float* x, float sign, float* out) {
  for (int i = 0; i < kSuperBlock; ++i) out[i] = sign * std::clamp(x[i], -kReach, kReach);
}

// Squared errors of x[0 .. kCount) under scale[c] * q - min[c], scale[c] != 0, with the best quants
// for each c.
template <int kCount, class Grid>
Candidates squared_errors(const Grid& grid, const float* x, const Candidates& scale,
                          const Candidates& min) {
  Candidates inverse, errors{};
  for (size_t c = 0; c < kCandidates; ++c) inverse[c] = 1 / scale[c];
  for (int i = 0; i < kCount; ++i) {
    for (size_t c = 0; c < kCandidates; ++c) {
      const float y = (x[i] + min[c]) * inverse[c];
      const float error = grid.nearest(y) - y;  // in steps of the scale
      errors[c] += error * error;
    }
  }
  for (size_t c = 0; c < kCandidates; ++c) errors[c] *= scale[c] * scale[c];
  return errors;
}

inline size_t index_of_least(const Candidates& values) {
  return static_cast<size_t>(std::min_element(values.begin(), values.end()) - values.begin());
}

inline size_t index_of_greatest(const Candidates& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace realm::search
