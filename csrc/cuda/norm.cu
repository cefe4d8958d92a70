// Norms: a block for each row, f32. Thread i sums the elements i, i + kThreads, ...; warps add up
// by butterfly, then their sums in warp order, so the order depends on the width alone. Bytes
// moved: the row twice (three times with a mean), out once. `in` and `out` may be the same. With
// `quantized` each warp leaves its 32 values as integer products take them too, as quantize.cu
// would.
#include "cuda/quantize_group.cuh"

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

// The i-th of the row's values; i is the same in all lanes but for the lane.
template <bool kQuantize>
REALM_DEVICE void put(float value, int64_t i, int64_t n_cols, float* out,
                      const QuantizedRows& quantized) {
  const int64_t at = blockIdx.x * n_cols + i;
  out[at] = value;
  if (kQuantize) quantize_group(value, at / kWarp, quantized);
}

template <int kThreads, bool kQuantize>
__global__ void rms_norm_kernel(const float* in, const float* weight, float eps, float* out,
                                int64_t n_cols, QuantizedRows quantized) {
  const float* x = in + blockIdx.x * n_cols;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < n_cols; i += kThreads) squares = fmaf(x[i], x[i], squares);
  const float factor =
      1.0f / sqrtf(block_sum<kThreads>(squares) / static_cast<float>(n_cols) + eps);
  for (int64_t i = threadIdx.x; i < n_cols; i += kThreads)
    put<kQuantize>(x[i] * factor * weight[i], i, n_cols, out, quantized);
}

template <int kThreads, bool kQuantize>
__global__ void layer_norm_kernel(const float* in, const float* weight, const float* bias,
                                  float eps, float* out, int64_t n_cols, QuantizedRows quantized) {
  const float* x = in + blockIdx.x * n_cols;
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
    const float value = fmaf((x[i] - mean) * factor, weight[i], bias ? bias[i] : 0.0f);
    put<kQuantize>(value, i, n_cols, out, quantized);
  }
}

template <int kThreads, bool kQuantize>
void launch(NormKind kind, const float* in, const float* weight, const float* bias, float eps,
            float* out, const QuantizedRows& quantized, int64_t n_rows, int64_t n_cols,
            Stream stream) {
  const dim3 grid(static_cast<unsigned>(n_rows)), block(kThreads);
  if (kind == NormKind::kRms) {
    REALM_LAUNCH((rms_norm_kernel<kThreads, kQuantize>), grid, block, 0, stream, in, weight, eps,
                 out, n_cols, quantized);
  } else {
    REALM_LAUNCH((layer_norm_kernel<kThreads, kQuantize>), grid, block, 0, stream, in, weight, bias,
                 eps, out, n_cols, quantized);
  }
}

}  // namespace

void launch_norm(NormKind kind, const float* in, const float* weight, const float* bias, float eps,
                 float* out, QuantizedRows quantized, int64_t n_rows, int64_t n_cols,
                 Stream stream) {
  const bool narrow = n_cols <= kNarrowCols, quantize = quantized.quants != nullptr;
  const auto launch_sized = narrow ? (quantize ? launch<kNarrow, true> : launch<kNarrow, false>)
                                   : (quantize ? launch<kWide, true> : launch<kWide, false>);
  launch_sized(kind, in, weight, bias, eps, out, quantized, n_rows, n_cols, stream);
}

}  // namespace realm::cuda
