// Norms: a threadgroup for each row, f32. Thread i sums the elements i, i + threads, ...; then
// simdgroups add up, then their sums in order, so the order depends on the width alone. Bytes
// moved: the row twice (three times with a mean), out once. `in` and `out` may be the same.
#include "metal/device/numbers.h"

kernel void rms_norm_kernel(device const float* in [[buffer(0)]],
                            device const float* weight [[buffer(1)]],
                            device float* out [[buffer(2)]], constant NormParams& p [[buffer(3)]],
                            threadgroup uchar* shared [[threadgroup(0)]],
                            uint row [[threadgroup_position_in_grid]],
                            uint thread_index [[thread_position_in_threadgroup]],
                            uint n_threads [[threads_per_threadgroup]],
                            uint simd [[simdgroup_index_in_threadgroup]],
                            uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float* parts = (threadgroup float*)shared;
  device const float* x = in + row * p.n_cols;
  device float* y = out + row * p.n_cols;
  float squares = 0;
  for (long i = thread_index; i < p.n_cols; i += n_threads) squares = fma(x[i], x[i], squares);
  const float sum = group_sum(squares, parts, simd, lane, n_threads / kSimd);
  const float factor = 1.0f / sqrt(sum / float(p.n_cols) + p.eps);
  for (long i = thread_index; i < p.n_cols; i += n_threads) y[i] = x[i] * factor * weight[i];
}

kernel void layer_norm_kernel(
    device const float* in [[buffer(0)]], device const float* weight [[buffer(1)]],
    device const float* bias [[buffer(2)]], device float* out [[buffer(3)]],
    constant NormParams& p [[buffer(4)]], threadgroup uchar* shared [[threadgroup(0)]],
    uint row [[threadgroup_position_in_grid]], uint thread_index [[thread_position_in_threadgroup]],
    uint n_threads [[threads_per_threadgroup]], uint simd [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float* parts = (threadgroup float*)shared;
  device const float* x = in + row * p.n_cols;
  device float* y = out + row * p.n_cols;
  const uint n_simds = n_threads / kSimd;
  float sum = 0;
  for (long i = thread_index; i < p.n_cols; i += n_threads) sum += x[i];
  const float mean = group_sum(sum, parts, simd, lane, n_simds) / float(p.n_cols);
  float squares = 0;
  for (long i = thread_index; i < p.n_cols; i += n_threads) {
    const float centred = x[i] - mean;
    squares = fma(centred, centred, squares);
  }
  const float total = group_sum(squares, parts, simd, lane, n_simds);
  const float factor = 1.0f / sqrt(total / float(p.n_cols) + p.eps);
  for (long i = thread_index; i < p.n_cols; i += n_threads)
    y[i] = (x[i] - mean) * factor * weight[i] + (p.has_bias ? bias[i] : 0.0f);
}
