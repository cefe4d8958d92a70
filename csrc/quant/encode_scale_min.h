// The search for formats with a scale and a minimum, w = d * scale[j] * q - dmin * min[j], q from 0
// up: Q2_K, Q4_K, Q5_K. Integer scales and minimums are never negative, so a sub-block's offset
// -dmin * min[j] has one sign in the whole superblock. Private to quant/encode_*.cpp.
#pragma once

#include "quant/encode_block.h"
#include "quant/encode_search.h"

namespace realm::search {

// The scale and minimum >= 0 that fit x[0 .. kCount) best of those that the candidates lead to.
template <int kCount>
SubScale fit_scale_min(const UniformGrid& grid, const float* x) {
  static_assert(kCount <= kLargestSub);
  const auto [min, max] = extremes<kCount>(x);
  const float lowest = std::min(min, 0.0f);
  const float range = max - lowest;
  if (range < kNegligible) return {0, -lowest};
  return search_loops().fit_scale_min(grid.hi, x, kCount, lowest, range);
}

template <int kSubs>
struct ScaleMinCode {
  float d, dmin;  // exactly halves
  std::array<int, kSubs> scale, min;
  float error;
};

// For each sub-block, the pair of integers with the least error among the sixteen around its
// target. Scale 0 is no candidate: scale 1 with quants 0 does the same.
template <int kSubs>
ScaleMinCode<kSubs> settle_scale_mins(const UniformGrid& grid, const float* x, SubScale d,
                                      float highest, const std::array<SubScale, kSubs>& target) {
  constexpr int kSub = kSuperBlock / kSubs;
  ScaleMinCode<kSubs> code{d.scale, d.min, {}, {}, 0};
  for (size_t j = 0; j < kSubs; ++j) {
    const SubScale near{std::floor(target[j].scale / d.scale),
                        std::floor(target[j].min * inverse_or_zero(d.min))};
    const auto [scale, min, error] =
        search_loops().settle_scale_min(grid.hi, x + j * kSub, kSub, d, highest, near);
    code.scale[j] = static_cast<int>(scale);
    code.min[j] = static_cast<int>(min);
    code.error += error;
  }
  return code;
}

// The d and dmin with the least error for the quants that `code` gives.
template <int kSubs>
SubScale refit_d(const UniformGrid& grid, const float* x, const ScaleMinCode<kSubs>& code) {
  constexpr int kSub = kSuperBlock / kSubs;
  float uu = 0, uv = 0, vv = 0, ux = 0, vx = 0;
  for (size_t j = 0; j < kSubs; ++j) {
    const auto s = static_cast<float>(code.scale[j]);
    const auto v = static_cast<float>(code.min[j]);
    const float inverse = 1 / (code.d * s);
    float levels[kSub];  // in a loop of their own, which vectorises
    for (size_t i = 0; i < kSub; ++i) {
      levels[i] = s * grid.nearest((x[j * kSub + i] + code.dmin * v) * inverse);
    }
    for (size_t i = j * kSub; i < (j + 1) * kSub; ++i) {
      const float u = levels[i - j * kSub];
      uu += u * u;
      uv += u * v;
      vv += v * v;
      ux += u * x[i];
      vx += v * x[i];
    }
  }
  // Minimize the sum of (d * u - dmin * v - x)^2. Nearly parallel u and v leave d and dmin open.
  const float determinant = uu * vv - uv * uv;
  if (!(determinant > 1e-4f * uu * vv)) return {code.d, code.dmin};
  const float d = (ux * vv - vx * uv) / determinant;
  const float dmin = (ux * uv - vx * uu) / determinant;
  if (d <= 0 || dmin < 0) return {code.d, code.dmin};
  return {storable_scale(d), storable_scale(dmin)};
}

// Scales and minimums, integers in 0 .. highest, of a superblock of values within kReach.
template <int kSubs>
ScaleMinCode<kSubs> search_scale_mins(const UniformGrid& grid, const float* x, int highest) {
  std::array<SubScale, kSubs> target;
  SubScale top{0, 0};
  for (size_t j = 0; j < kSubs; ++j) {
    target[j] = fit_scale_min<kSuperBlock / kSubs>(grid, x + j * (kSuperBlock / kSubs));
    top = {std::max(top.scale, target[j].scale), std::max(top.min, target[j].min)};
  }
  if (top.scale == 0 && top.min == 0) return {};
  const auto limit = static_cast<float>(highest);
  // A superblock of constant sub-blocks fits scale 0; the divisions here want a positive one.
  const SubScale d{storable_scale(std::max(top.scale / limit, kNegligible)),
                   storable_scale(top.min / limit)};
  const auto first = settle_scale_mins<kSubs>(grid, x, d, limit, target);
  for (size_t j = 0; j < kSubs; ++j) {
    target[j] = {d.scale * static_cast<float>(first.scale[j]),
                 d.min * static_cast<float>(first.min[j])};
  }
  const SubScale refitted = refit_d(grid, x, first);
  if (refitted.scale == d.scale && refitted.min == d.min) return first;
  const auto second = settle_scale_mins<kSubs>(grid, x, refitted, limit, target);
  return second.error < first.error ? second : first;
}

}  // namespace realm::search
