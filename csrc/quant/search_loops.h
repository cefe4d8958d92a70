// The inner loops of the encoders that search, compiled once per CPU level (quant/unit_search.cpp).
// Each tries kCandidates scales side by side, one to a lane, value after value: no sum needs
// reordering, so every level gives the same bits. Pure functions over the caller's memory.
//
// Units of a level include this, so: nothing of the C++ library, no inline function (base/vec16.h).
#pragma once

namespace realm::search {

constexpr int kCandidates = 16;
constexpr int kLargestSub = 32;  // values of a sub-block at most

// The integers lo .. hi as levels of a quant.
struct LevelRange {
  float lo, hi;
};

// Of a sub-block: w = scale * q - min.
struct SubScale {
  float scale, min;
};

// The integers that stand for a sub-block's scale and minimum, and their squared error.
struct SettledSub {
  float scale, min, error;
};

struct SearchLoops {
  // The scale and minimum >= 0 that fit x[0 .. n) best of those that the candidates lead to. The
  // values lie in lowest .. lowest + range, range > 0, lowest <= 0; quants are 0 .. top.
  SubScale (*fit_scale_min)(float top, const float* x, int n, float lowest, float range);

  // Integers scale and min for x[0 .. n) with the least error of the sixteen pairs around `near`:
  // w = d.scale * scale * q - d.min * min, q in 0 .. top, scale 1 .. highest, min 0 .. highest.
  SettledSub (*settle_scale_min)(float top, const float* x, int n, SubScale d, float highest,
                                 SubScale near);

  // xq[c] and qq[c]: the sums of x * q and q * q over x[0 .. n) with q the level nearest to
  // x * inverse[c].
  void (*sum_levels)(LevelRange levels, const float* x, int n, const float* inverse, float* xq,
                     float* qq);

  // The c with the least squared error of x[0 .. n) under scale[c] * q, scale[c] != 0, and the best
  // levels q.
  int (*least_error)(LevelRange levels, const float* x, int n, const float* scale);
};

}  // namespace realm::search
