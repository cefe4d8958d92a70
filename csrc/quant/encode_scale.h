// The search for formats without a minimum, w = d * scale[j] * level(q): Q3_K, Q6_K, IQ4_XS, and
// IQ4_NL, which has one sub-block and no integer scale. Their grids are lopsided (-4 .. 3), so the
// sign of a scale matters.
//
// A Grid gives peak_levels, the levels at which the candidates of fit_scale put the value of
// largest magnitude, and the loops sum_levels and least_error of quant/search_loops.h over its
// levels. Private to quant/encode_*.cpp.
#pragma once

#include "quant/encode_block.h"
#include "quant/encode_search.h"

namespace realm::search {

// Level i of `count` around `end`, the outer end of a grid. Putting the peak within it gives
// coarser steps that use fewer levels; putting it beyond clips the peak, for finer steps elsewhere.
// Gains end well inside this range. Level count / 2 is the end itself.
constexpr float peak_level(float end, size_t i, size_t count) {
  return end * (0.75f + 0.5f * static_cast<float>(i) / static_cast<float>(count));
}

constexpr size_t kPeakAtEnd = kCandidates / 2;

struct SymmetricGrid : UniformGrid {
  Candidates peak_levels;

  constexpr SymmetricGrid(float low, float high) : UniformGrid{low, high}, peak_levels{} {
    for (size_t c = 0; c < kCandidates; ++c) peak_levels[c] = peak_level(low, c, kCandidates);
  }

  void sum_levels(const float* x, int n, const Candidates& inverse, Candidates& xq,
                  Candidates& qq) const {
    search_loops().sum_levels(*this, x, n, inverse.data(), xq.data(), qq.data());
  }
  size_t least_error(const float* x, int n, const Candidates& scale) const {
    return static_cast<size_t>(search_loops().least_error(*this, x, n, scale.data()));
  }
};

// The scale that fits x[0 .. kCount) best of those that the candidates lead to, 0 for negligible
// values. For given quants the best scale is sum(xq) / sum(qq), and it lowers the squared error by
// sum(xq)^2 / sum(qq).
template <int kCount, class Grid>
float fit_scale(const Grid& grid, const float* x) {
  const auto [min, max] = extremes<kCount>(x);
  const float peak = max >= -min ? max : min;
  if (std::fabs(peak) < kNegligible) return 0;
  Candidates inverse, xq, qq;
  for (size_t c = 0; c < kCandidates; ++c) inverse[c] = grid.peak_levels[c] / peak;
  grid.sum_levels(x, kCount, inverse, xq, qq);
  Candidates gain;  // the peak has a nonzero quant, so qq is not 0
  for (size_t c = 0; c < kCandidates; ++c) gain[c] = xq[c] * xq[c] / qq[c];
  // Where rounding alone would decide, as in constant blocks, the end of the grid is best: a half
  // divided by it and by the outermost integer scale, both powers of two, is a half again.
  size_t best = index_of_greatest(gain);
  if (gain[kPeakAtEnd] >= gain[best] * (1 - 1e-6f)) best = kPeakAtEnd;
  return xq[best] / qq[best];
}

template <int kSubs>
struct ScaleCode {
  float d;  // exactly a half
  std::array<int, kSubs> scale;
};

// For each sub-block, the integer scale with the least error among those around target[j] / d.
// Scale 0 is no candidate: scale 1 with quants of level 0 does the same, and in IQ4, whose least
// level is 1, loses at most one step of d.
template <int kSubs, class Grid>
ScaleCode<kSubs> settle_scales(const Grid& grid, const float* x, float d, int lowest, int highest,
                               const std::array<float, kSubs>& target) {
  constexpr int kSub = kSuperBlock / kSubs;
  ScaleCode<kSubs> code{d, {}};
  for (size_t j = 0; j < kSubs; ++j) {
    if (target[j] == 0) continue;
    const float wanted = std::floor(target[j] / d);
    Candidates integer, scale;
    for (size_t c = 0; c < kCandidates; ++c) {
      const float near = wanted + (static_cast<float>(c) - 7);
      const float kept = std::clamp(near, static_cast<float>(lowest), static_cast<float>(highest));
      integer[c] = kept != 0 ? kept : 1;
      scale[c] = d * integer[c];
    }
    code.scale[j] = static_cast<int>(integer[grid.least_error(x + j * kSub, kSub, scale)]);
  }
  return code;
}

// Scales of a superblock of values within kReach, integers in lowest .. highest with |lowest| the
// larger.
template <int kSubs, class Grid>
ScaleCode<kSubs> search_scales(const Grid& grid, const float* x, int lowest, int highest) {
  constexpr int kSub = kSuperBlock / kSubs;
  std::array<float, kSubs> target;
  float top = 0;
  for (size_t j = 0; j < kSubs; ++j) {
    target[j] = fit_scale<kSub>(grid, x + j * kSub);
    if (std::fabs(target[j]) > std::fabs(top)) top = target[j];
  }
  const float d = storable_scale(top / static_cast<float>(lowest));
  return settle_scales<kSubs>(grid, x, d, lowest, highest, target);
}

}  // namespace realm::search
