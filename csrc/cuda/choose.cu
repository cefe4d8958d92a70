// The largest logit of each row: a block a row, the lower token on a tie, -1 if the row holds a
// NaN. Bytes moved: the logits once; one int a row comes back.
#include "cuda/device/warp.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kNone = 0x7fffffff;

struct Choice {
  float value;
  int token;
};

REALM_DEVICE Choice better(Choice a, Choice b) {
  return b.value > a.value || (b.value == a.value && b.token < a.token) ? b : a;
}

__global__ void choose_largest_kernel(const float* logits, int64_t n_cols, int32_t* token) {
  REALM_SHARED(Choice, found, kWarps);
  REALM_SHARED(uint32_t, nans, kWarps);
  const float* row = logits + blockIdx.x * n_cols;
  Choice best{-INFINITY, kNone};
  bool nan = false;
  for (int64_t i = threadIdx.x; i < n_cols; i += kThreads) {
    best = better(best, {row[i], static_cast<int>(i)});
    nan = nan || row[i] != row[i];
  }
  for (int mask = kWarp / 2; mask > 0; mask /= 2)
    best = better(best, {shuffle_xor(best.value, mask), shuffle_xor(best.token, mask)});
  const uint32_t votes = ballot(nan);
  if (lane_index() == 0) {
    found[warp_index()] = best;
    nans[warp_index()] = votes;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  uint32_t any = 0;
  for (int w = 0; w < kWarps; ++w) {
    best = better(best, found[w]);
    any |= nans[w];
  }
  token[blockIdx.x] = any || best.token == kNone ? -1 : best.token;
}

}  // namespace

void launch_choose_largest(const float* logits, int64_t n_rows, int64_t n_cols, int32_t* token,
                           Stream stream) {
  REALM_LAUNCH(choose_largest_kernel, dim3(static_cast<unsigned>(n_rows)), dim3(kThreads), 0,
               stream, logits, n_cols, token);
}

}  // namespace realm::cuda
