// The largest logit of each row: a threadgroup a row, the lower token on a tie, -1 if the row holds
// a NaN. Bytes moved: the logits once; one int a row comes back.
#include "metal/device/numbers.h"

struct Choice {
  float value;
  int token;
};

static inline Choice better(Choice a, Choice b) {
  if (b.value > a.value || (b.value == a.value && b.token < a.token)) return b;
  return a;
}

kernel void choose_largest_kernel(device const float* logits [[buffer(0)]],
                                  device int* token [[buffer(1)]],
                                  constant ChooseParams& p [[buffer(2)]],
                                  threadgroup uchar* shared [[threadgroup(0)]],
                                  uint row_index [[threadgroup_position_in_grid]],
                                  uint thread_index [[thread_index_in_threadgroup]],
                                  uint simd [[simdgroup_index_in_threadgroup]],
                                  uint lane [[thread_index_in_simdgroup]]) {
  const int none = 0x7fffffff, n_simds = kChooseThreads / kSimd;
  threadgroup float* values = (threadgroup float*)shared;
  threadgroup int* tokens = (threadgroup int*)(values + n_simds);
  threadgroup int* nans = tokens + n_simds;
  device const float* row = logits + row_index * p.n_cols;
  Choice best = {-INFINITY, none};
  int nan = 0;
  for (long i = thread_index; i < p.n_cols; i += kChooseThreads) {
    best = better(best, {row[i], int(i)});
    nan |= row[i] != row[i];
  }
  for (int mask = kSimd / 2; mask > 0; mask /= 2) {
    best = better(best, {simd_shuffle_xor(best.value, ushort(mask)),
                         simd_shuffle_xor(best.token, ushort(mask))});
  }
  nan = simd_sum(nan);
  if (lane == 0) {
    values[simd] = best.value;
    tokens[simd] = best.token;
    nans[simd] = nan;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index != 0) return;
  int any = 0;
  for (int i = 0; i < n_simds; ++i) {
    best = better(best, {values[i], tokens[i]});
    any += nans[i];
  }
  token[row_index] = any > 0 || best.token == none ? -1 : best.token;
}
