// The loops of quant/search_loops.h for one CPU level.
#include "base/level.h"
#include "quant/search_loops.h"

namespace realm::search::REALM_LEVEL_NAMESPACE {

const SearchLoops* search_loops();

#if defined(REALM_LEVEL_EXISTS)
#include "base/vec16.h"

namespace {

// Nearest level to y, ties to even. Adding 1.5 * 2^23 makes the adder round to integers.
INLINE Vec16 nearest(LevelRange levels, Vec16 y) {
  const Vec16 rounder = splat(0x1.8p23f);
  return (min(splat(levels.hi), max(splat(levels.lo), y)) + rounder) - rounder;
}

// Squared errors of x under scale * q - min with the best levels q.
INLINE Vec16 squared_errors(LevelRange levels, const float* x, int n, Vec16 scale, Vec16 min) {
  const Vec16 inverse = splat(1) / scale;
  Vec16 steps = splat(0);
  for (int i = 0; i < n; ++i) {
    const Vec16 y = (splat(x[i]) + min) * inverse;
    const Vec16 error = nearest(levels, y) - y;  // in steps of the scale
    steps = steps + error * error;
  }
  return steps * (scale * scale);
}

INLINE float lane(Vec16 a, int i) {
  float lanes[kCandidates];
  store(lanes, a);
  return lanes[i];
}

// ---- a scale and a minimum ----

// Sums over a sub-block. y is x minus its lowest value: differences of sums would otherwise drown
// in the offset.
struct ValueSums {
  float n, y, yy;
  float highest_base;  // keeps the minimum from becoming negative
};

// The same for the quants of each candidate.
struct QuantSums {
  Vec16 q, qq, yq;
};

// Lines y = slope * q + base, and their squared errors.
struct LineFits {
  Vec16 slope, base, error;
};

// Lines to take quants from.
struct Lines {
  Vec16 inverse, base;
};

INLINE QuantSums sum_quants(float top, const float* y, int n, const Lines& lines) {
  QuantSums sums{splat(0), splat(0), splat(0)};
  for (int i = 0; i < n; ++i) {
    const Vec16 value = splat(y[i]);
    const Vec16 q = nearest({0, top}, (value - lines.base) * lines.inverse);
    sums.q = sums.q + q;
    sums.qq = sums.qq + q * q;
    sums.yq = sums.yq + value * q;
  }
  return sums;
}

// a / b, and 0 where b is not positive.
INLINE Vec16 over_positive(Vec16 a, Vec16 b) {
  return select_less(splat(0), b, a / b, splat(0));
}

// 1 / a, and 0 for 0.
INLINE Vec16 inverse_or_zero(Vec16 a) {
  const Vec16 zero = splat(0), inverse = splat(1) / a;
  return select_less(zero, a, inverse, select_less(a, zero, inverse, zero));
}

// Least squares under base <= highest_base.
INLINE LineFits fit_lines(const ValueSums& values, const QuantSums& quants) {
  const Vec16 n = splat(values.n), y = splat(values.y), highest = splat(values.highest_base);
  Vec16 slope = over_positive(n * quants.yq - y * quants.q, n * quants.qq - quants.q * quants.q);
  Vec16 base = (y - slope * quants.q) / n;
  if (any_less(highest, base)) {
    const Vec16 held = over_positive(quants.yq - highest * quants.q, quants.qq);
    slope = select_less(highest, base, held, slope);
    base = min(highest, base);
  }
  const Vec16 two = splat(2);
  return {slope, base,
          splat(values.yy) - two * (slope * quants.yq + base * y) + slope * slope * quants.qq +
              two * slope * base * quants.q + n * base * base};
}

// Lines that map the quants 0 .. top to [0, range] with each end moved by -0.6, -0.2, 0.2 or 0.6 of
// a step. Moves out are for values on a grid of their own that leave a level unused: integers -8 ..
// 7 in Q4_K err a sixth of what they do when moves end at -0.3.
INLINE Lines lines_over(float range, float top) {
  constexpr float kMoves[] = {0.4f * 0 - 0.6f, 0.4f * 1 - 0.6f, 0.4f * 2 - 0.6f, 0.4f * 3 - 0.6f};
  float low[kCandidates], high[kCandidates];
  for (int c = 0; c < kCandidates; ++c) {
    low[c] = kMoves[c % 4];
    high[c] = kMoves[c / 4];
  }
  const Vec16 step = splat(range / top);
  const Vec16 base = load(low) * step;
  return {splat(top) / (splat(range) - load(high) * step - base), base};
}

SubScale fit_scale_min(float top, const float* x, int n, float lowest, float range) {
  float y[kLargestSub];
  ValueSums values{static_cast<float>(n), 0, 0, -lowest};
  for (int i = 0; i < n; ++i) {
    y[i] = x[i] - lowest;
    values.y += y[i];
    values.yy += y[i] * y[i];
  }
  Lines lines = lines_over(range, top);
  float slope = 0, base = 0, error = values.yy;
  for (int pass = 0; pass < 2; ++pass) {  // the second quantizes by the lines of the first
    const LineFits fits = fit_lines(values, sum_quants(top, y, n, lines));
    const int best = first_least(fits.error);
    if (lane(fits.error, best) < error) {
      slope = lane(fits.slope, best);
      base = lane(fits.base, best);
      error = lane(fits.error, best);
    }
    lines = {inverse_or_zero(fits.slope), fits.base};
  }
  return {slope, -(lowest + base)};
}

SettledSub settle_scale_min(float top, const float* x, int n, SubScale d, float highest,
                            SubScale near) {
  float scale_moves[kCandidates], min_moves[kCandidates];
  for (int c = 0; c < kCandidates; ++c) {
    scale_moves[c] = static_cast<float>(c % 4 - 1);
    min_moves[c] = static_cast<float>(c / 4 - 1);
  }
  const Vec16 limit = splat(highest);
  const Vec16 scale = min(limit, max(splat(1), splat(near.scale) + load(scale_moves)));
  const Vec16 least = min(limit, max(splat(0), splat(near.min) + load(min_moves)));
  const Vec16 errors = squared_errors({0, top}, x, n, splat(d.scale) * scale, splat(d.min) * least);
  const int best = first_least(errors);
  return {lane(scale, best), lane(least, best), lane(errors, best)};
}

// ---- a scale only ----

void sum_levels(LevelRange levels, const float* x, int n, const float* inverse, float* xq,
                float* qq) {
  const Vec16 inverses = load(inverse);
  Vec16 products = splat(0), squares = splat(0);
  for (int i = 0; i < n; ++i) {
    const Vec16 value = splat(x[i]);
    const Vec16 q = nearest(levels, value * inverses);
    products = products + value * q;
    squares = squares + q * q;
  }
  store(xq, products);
  store(qq, squares);
}

int least_error(LevelRange levels, const float* x, int n, const float* scale) {
  return first_least(squared_errors(levels, x, n, load(scale), splat(0)));
}

constexpr SearchLoops kLoops{fit_scale_min, settle_scale_min, sum_levels, least_error};

}  // namespace

const SearchLoops* search_loops() {
  return &kLoops;
}
#else
const SearchLoops* search_loops() {
  return nullptr;
}
#endif

}  // namespace realm::search::REALM_LEVEL_NAMESPACE
