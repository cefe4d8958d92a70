// The search for formats with a scale and a minimum, w = d * scale[j] * q - dmin * min[j], q from 0
// up: Q2_K, Q4_K, Q5_K. Integer scales and minimums are never negative, so a sub-block's offset
// -dmin * min[j] has one sign in the whole superblock. Private to quant/encode_*.cpp.
#pragma once

#include "quant/encode_block.h"
#include "quant/encode_search.h"

namespace realm::search {

struct SubScale {
  float scale, min;
};

// Sums over a sub-block for the quants of one candidate. y is x minus its lowest value: differences
// of sums would otherwise drown in the offset.
struct ScaleMinSums {
  float n, y, yy;      // of the values
  float q, qq, yq;     // of the quants
  float highest_base;  // keeps the minimum from becoming negative
};

struct LineFit {
  float slope, base, error;
};

// Least squares of y = slope * q + base under base <= highest_base.
inline LineFit fit_line(const ScaleMinSums& s) {
  const float spread = s.n * s.qq - s.q * s.q;
  float slope = spread > 0 ? (s.n * s.yq - s.y * s.q) / spread : 0;
  float base = (s.y - slope * s.q) / s.n;
  if (base > s.highest_base) {
    base = s.highest_base;
    slope = s.qq > 0 ? (s.yq - base * s.q) / s.qq : 0;
  }
  const float error = s.yy - 2 * (slope * s.yq + base * s.y) + slope * slope * s.qq +
                      2 * slope * base * s.q + s.n * base * base;
  return {slope, base, error};
}

// The lines y = q / inverse[c] + base[c] to take quants from.
struct LineCandidates {
  Candidates inverse, base;
};

// Lines that map the quants 0 .. top to [0, range] with each end moved by -0.6, -0.2, 0.2 or 0.6 of
// a step. Moves out are for values on a grid of their own that leave a level unused: integers -8 ..
// 7 in Q4_K err a sixth of what they do when moves end at -0.3.
inline LineCandidates lines_over(float range, float top) {
  LineCandidates lines;
  const float step = range / top;
  for (size_t c = 0; c < kCandidates; ++c) {
    const float low = (0.4f * static_cast<float>(c % 4) - 0.6f) * step;
    const float high = range - (0.4f * static_cast<float>(c / 4) - 0.6f) * step;
    lines.inverse[c] = top / (high - low);
    lines.base[c] = low;
  }
  return lines;
}

// Fits a line to the quants of each candidate, puts it in the candidate's place, and keeps the
// best.
template <int kCount>
void fit_lines(const UniformGrid& grid, const float* y, ScaleMinSums sums, LineCandidates& lines,
               LineFit& best) {
  const LineCandidates from = lines;
  Candidates q1{}, qq{}, yq{};
  for (int i = 0; i < kCount; ++i) {
    for (size_t c = 0; c < kCandidates; ++c) {
      const float q = grid.nearest((y[i] - from.base[c]) * from.inverse[c]);
      q1[c] += q;
      qq[c] += q * q;
      yq[c] += y[i] * q;
    }
  }
  for (size_t c = 0; c < kCandidates; ++c) {
    sums.q = q1[c];
    sums.qq = qq[c];
    sums.yq = yq[c];
    const LineFit fit = fit_line(sums);
    if (fit.error < best.error) best = fit;
    lines.inverse[c] = inverse_or_zero(fit.slope);
    lines.base[c] = fit.base;
  }
}

// The scale and minimum >= 0 that fit x[0 .. kCount) best of those that the candidates lead to. The
// second pass quantizes by the lines of the first; a third would gain 0.1 %.
template <int kCount>
SubScale fit_scale_min(const UniformGrid& grid, const float* x) {
  const auto [min, max] = extremes<kCount>(x);
  const float lowest = std::min(min, 0.0f);
  const float range = max - lowest;
  if (range < kNegligible) return {0, -lowest};

  float y[kCount];
  ScaleMinSums sums{kCount, 0, 0, 0, 0, 0, -lowest};
  for (int i = 0; i < kCount; ++i) {
    y[i] = x[i] - lowest;
    sums.y += y[i];
    sums.yy += y[i] * y[i];
  }
  LineCandidates lines = lines_over(range, grid.hi);
  LineFit best{0, 0, sums.yy};
  for (int pass = 0; pass < 2; ++pass) fit_lines<kCount>(grid, y, sums, lines, best);
  return {best.slope, -(lowest + best.base)};
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
    const float wanted_scale = std::floor(target[j].scale / d.scale);
    const float wanted_min = std::floor(target[j].min * inverse_or_zero(d.min));
    Candidates s, m, scale, min;
    for (size_t c = 0; c < kCandidates; ++c) {
      s[c] = std::clamp(wanted_scale + (static_cast<float>(c % 4) - 1), 1.0f, highest);
      m[c] = std::clamp(wanted_min + (static_cast<float>(c / 4) - 1), 0.0f, highest);
      scale[c] = d.scale * s[c];
      min[c] = d.min * m[c];
    }
    const Candidates errors = squared_errors<kSub>(grid, x + j * kSub, scale, min);
    const size_t best = index_of_least(errors);
    code.scale[j] = static_cast<int>(s[best]);
    code.min[j] = static_cast<int>(m[best]);
    code.error += errors[best];
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
    for (size_t i = j * kSub; i < (j + 1) * kSub; ++i) {
      const float u = s * grid.nearest((x[i] + code.dmin * v) * inverse);
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
