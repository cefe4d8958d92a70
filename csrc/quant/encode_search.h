// What the searching encoders share. A superblock's quantized scales make its error a function of
// few small integers, so they search instead of solving: fit the scale of each sub-block alone,
// take the float scale of the superblock from the largest of them, then settle each sub-block on
// the integers near its fit that have the least error as a decoder will see it. The criterion is
// the plain sum of squared errors.
//
// The loops over candidates are compiled per CPU level (quant/search_loops.h); all give the same
// bytes.
//
// Private to quant/encode_*.cpp; pure functions over the caller's memory.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

#include "base/cpu_features.h"
#include "base/half.h"
#include "quant/search_loops.h"

namespace realm::search {

constexpr int kSuperBlock = 256;

using Candidates = std::array<float, kCandidates>;

// The loops of the CPU level that active_vector_level() gave when first asked.
const SearchLoops& search_loops();
// Those of a level that supported_cpu_levels() lists.
const SearchLoops& search_loops_for(CpuLevel level);

// Half of the smallest step that a half-precision scale of 2^-24 can express: values whose spread
// is below it are best encoded with scale 0, which also keeps every inverse here finite.
constexpr float kNegligible = 0x1p-25f;

// Inputs are clamped to this. No format reaches as far (Q6_K, the widest, ends at 65504 * 128 *
// 32), and 256 squares of it still have a float sum.
constexpr float kReach = 0x1p29f;

struct UniformGrid : LevelRange {
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

inline size_t index_of_greatest(const Candidates& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace realm::search
