// The loops of base/float_rows.h for one CPU level.
#include "base/float_rows.h"
#include "base/level.h"

namespace realm::REALM_LEVEL_NAMESPACE {

const FloatRows* float_rows();

#if defined(REALM_LEVEL_EXISTS)
#include "base/vec16.h"

namespace {

template <class Widen>
INLINE void widen_row(const unsigned short* in, float* out, long long n, Widen widen) {
  long long i = 0;
  for (; i + 16 <= n; i += 16) store(out + i, widen(in + i));
  if (i == n) return;
  unsigned short last[16] = {};
  float widened[16];
  for (long long j = i; j < n; ++j) last[j - i] = in[j];
  store(widened, widen(last));
  for (long long j = i; j < n; ++j) out[j] = widened[j - i];
}

void widen_f16(const unsigned short* in, float* out, long long n) {
  widen_row(in, out, n, [](const unsigned short* p) INLINE_LAMBDA { return load_f16(p); });
}

void widen_bf16(const unsigned short* in, float* out, long long n) {
  widen_row(in, out, n, [](const unsigned short* p) INLINE_LAMBDA { return load_bf16(p); });
}

// kVectors vectors of the output at a time: each waits for its own sum alone.
template <int kVectors>
INLINE long long add_scaled_from(long long i, float* out, const float* rows, const float* factors,
                                 int n_rows, long long n) {
  for (; i + 16 * kVectors <= n; i += 16 * kVectors) {
    Vec16 sums[kVectors];
    for (int k = 0; k < kVectors; ++k) sums[k] = load(out + i + 16 * k);
    for (int j = 0; j < n_rows; ++j) {
      const Vec16 factor = splat(factors[j]);
      for (int k = 0; k < kVectors; ++k) {
        sums[k] = sums[k] + factor * load(rows + j * n + i + 16 * k);
      }
    }
    for (int k = 0; k < kVectors; ++k) store(out + i + 16 * k, sums[k]);
  }
  return i;
}

void add_scaled(float* out, const float* rows, const float* factors, int n_rows, long long n) {
  long long i = add_scaled_from<4>(0, out, rows, factors, n_rows, n);
  i = add_scaled_from<1>(i, out, rows, factors, n_rows, n);
  for (; i < n; ++i) {
    for (int j = 0; j < n_rows; ++j) out[i] = out[i] + factors[j] * rows[j * n + i];
  }
}

constexpr FloatRows kRows{widen_f16, widen_bf16, add_scaled};

}  // namespace

const FloatRows* float_rows() {
  return &kRows;
}
#else
const FloatRows* float_rows() {
  return nullptr;
}
#endif

}  // namespace realm::REALM_LEVEL_NAMESPACE
