// Input rows times an F32, F16 or BF16 weight in f32: a warp for an output, up to four rows at a
// time. Lane l takes the values 8 l .. 8 l + 7, then those 256 further on; one fused multiply-add
// each, ascending; the lanes are added by butterfly, the bias last. An output's bits depend on its
// row and the weight alone. Also the path of many rows over F32 weights, which the matrix unit
// would round. Bytes moved: the weight once for each four rows. Oracle: float64.
#include "cuda/codec.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/product_rows.cuh"

namespace realm::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kMostRows = 4;
constexpr int kRun = 8;  // values a lane takes at a time

template <class Element>
__global__ void __launch_bounds__(kThreads)
    vector_float_kernel(PackedWeight w, ProductShape shape, const float* in, float* out) {
  using Bits = typename Element::Bits;
  const ProductRows rows = rows_of(shape);
  const int64_t col = int64_t{blockIdx.x} * kWarps + warp_index();
  const int64_t first_in = rows.first + int64_t{blockIdx.y} * kMostRows;
  if (col >= shape.n_out || first_in >= rows.end) return;
  const int n_rows =
      rows.end - first_in < kMostRows ? static_cast<int>(rows.end - first_in) : kMostRows;
  const auto* weights =
      reinterpret_cast<const Bits*>(w.quants) + (rows.weight_base + col) * w.stride;
  float sums[kMostRows] = {};
  for (int64_t k = lane_index() * kRun; k < w.n_cols; k += kWarp * kRun) {
    alignas(16) Bits run[kRun];  // the stride is a multiple of 8, so a run never leaves its row
    REALM_UNROLL
    for (int i = 0; i < kRun; i += 16 / static_cast<int>(sizeof(Bits)))
      *reinterpret_cast<Words4*>(run + i) = load16(weights + k + i);
    const int n = w.n_cols - k < kRun ? static_cast<int>(w.n_cols - k) : kRun;
    REALM_UNROLL
    for (int r = 0; r < kMostRows; ++r) {
      if (r >= n_rows) break;
      const float* x = in + (first_in + r) * w.n_cols + k;
      REALM_UNROLL
      for (int i = 0; i < kRun; ++i)
        if (i < n) sums[r] = fmaf(x[i], Element::widen(run[i]), sums[r]);
    }
  }
  REALM_UNROLL
  for (int r = 0; r < kMostRows; ++r) {
    const float sum = warp_sum(sums[r]);
    if (lane_index() == 0 && r < n_rows)
      out[(first_in + r) * shape.n_out + col] = sum + (shape.bias ? shape.bias[col] : 0.0f);
  }
}

}  // namespace

void launch_vector_float(const PackedWeight& weight, const ProductShape& shape, const float* in,
                         float* out, Stream stream) {
  const dim3 grid(static_cast<unsigned>(div_up<int64_t>(shape.n_out, kWarps)),
                  static_cast<unsigned>(div_up<int64_t>(shape.n_in, kMostRows)),
                  static_cast<unsigned>(shape.n_experts));
  with_element(weight.packing, [&](auto element) {
    REALM_LAUNCH(vector_float_kernel<decltype(element)>, grid, dim3(kThreads), 0, stream, weight,
                 shape, in, out);
  });
}

}  // namespace realm::cuda
