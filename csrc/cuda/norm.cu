// Norms: a block for each row, f32. Thread i sums the elements i, i + kThreads, ...; warps add up
// by butterfly, then their sums in warp order, so the order depends on the width alone. Bytes
// moved: the row twice (three times with a mean), out once. `in` and `out` may be the same.
#include "cuda/device/warp.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

namespace {

constexpr int kWide = 256, kNarrow = 32;  // threads for a row
constexpr int64_t kNarrowCols = 512;      // a head's norm is a warp's work

// The sum over the block's threads, the same in all of them.
template <int kThreads>
REALM_DEVICE float block_sum(float value) {
  constexpr int kWarps = kThreads / kWarp;
  REALM_SHARED(float, parts, kWarps);
  value = warp_sum(value);
  __syncthreads();  // a second sum must not overwrite what others still read of the first
  if (lane_index() == 0) parts[warp_index()] = value;
  __syncthreads();
  float total = 0;
  for (int i = 0; i < kWarps; ++i) total += parts[i];
  return total;
}

template <int kThreads>
__global__ void rms_norm_kernel(const float* in, const float* weight, float eps, float* out,
                                int64_t n_cols) {
  const float* x = in + blockIdx.x * n_cols;
  float* y = out + blockIdx.x * n_cols;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < n_cols; i += kThreads) squares = fmaf(x[i], x[i], squares);
  const float factor =
      1.0f / sqrtf(block_sum<kThreads>(squares) / static_cast<float>(n_cols) + eps);
  for (int64_t i = threadIdx.x; i < n_cols; i += kThreads) y[i] = x[i] * factor * weight[i];
}

template <int kThreads>
__global__ void layer_norm_kernel(const float* in, const float* weight, const float* bias,
                                  float eps, float* out, int64_t n_cols) {
  const float* x = in + blockIdx.x * n_cols;
  float* y = out + blockIdx.x * n_cols;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n_cols; i += kThreads) sum += x[i];
  const float mean = block_sum<kThreads>(sum) / static_cast<float>(n_cols);
  float squares = 0;
  for (int64_t i = threadIdx.x; i < n_cols; i += kThreads) {
    const float centred = x[i] - mean;
    squares = fmaf(centred, centred, squares);
  }
  const float factor =
      1.0f / sqrtf(block_sum<kThreads>(squares) / static_cast<float>(n_cols) + eps);
  for (int64_t i = threadIdx.x; i < n_cols; i += kThreads) {
    y[i] = (x[i] - mean) * factor * weight[i] + (bias ? bias[i] : 0.0f);
  }
}

template <int kThreads>
void launch(NormKind kind, const float* in, const float* weight, const float* bias, float eps,
            float* out, int64_t n_rows, int64_t n_cols, Stream stream) {
  const dim3 grid(static_cast<unsigned>(n_rows)), block(kThreads);
  if (kind == NormKind::kRms) {
    REALM_LAUNCH(rms_norm_kernel<kThreads>, grid, block, 0, stream, in, weight, eps, out, n_cols);
  } else {
    REALM_LAUNCH(layer_norm_kernel<kThreads>, grid, block, 0, stream, in, weight, bias, eps, out,
                 n_cols);
  }
}

}  // namespace

void launch_norm(NormKind kind, const float* in, const float* weight, const float* bias, float eps,
                 float* out, int64_t n_rows, int64_t n_cols, Stream stream) {
  const auto launch_sized = n_cols <= kNarrowCols ? launch<kNarrow> : launch<kWide>;
  launch_sized(kind, in, weight, bias, eps, out, n_rows, n_cols, stream);
}

}  // namespace realm::cuda
