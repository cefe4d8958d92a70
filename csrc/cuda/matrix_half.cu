// Many input rows times an F16 or BF16 weight on the matrix unit. A block computes kRows x kCols
// outputs; slabs of 32 along k come to shared memory by asynchronous copies, three stages deep, and
// each warp multiplies its part. Rows in shared memory are 80 bytes apart, five banks of 16, so
// that reading eight of them as a matrix meets no conflict. An output is a sum in ascending k,
// sixteen products at a time, in whatever tile it stands; the row's factor and the bias come last.
// Grid: columns x rows x experts. Bytes moved: the weight once for each kRows rows, the input once
// for each kCols columns. Oracle: float64 over the narrowed input.
#include "cuda/device/async_copy.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/product_rows.cuh"

namespace realm::cuda {

namespace {

constexpr int kDepth = 32, kStages = 3;
constexpr int kStride = kDepth + 8;  // of a row in shared memory, in values
constexpr int kChunks = kDepth / 8;  // 16-byte pieces of a row

// How a block is divided: warps along rows and columns, and tiles (16 x 8) of each warp.
template <int kWarpsDown, int kWarpsAcross, int kTilesDown, int kTilesAcross>
struct Division {
  static constexpr int kDown = kTilesDown, kAcross = kTilesAcross, kWarpCols = kWarpsAcross;
  static constexpr int kRows = 16 * kWarpsDown * kTilesDown;
  static constexpr int kCols = 8 * kWarpsAcross * kTilesAcross;
  static constexpr int kThreads = kWarp * kWarpsDown * kWarpsAcross;
  static constexpr int kSharedBytes = kStages * (kRows + kCols) * kStride * 2;
};

// One slab of up to `n_rows` rows from `from`, `stride` values apart; what lies outside is zeros.
template <int kRows, int kThreads>
REALM_DEVICE void load_slab(uint16_t* to, const uint16_t* from, int64_t stride, int64_t n_rows,
                            int64_t k) {
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks * 8;
    const bool inside = row < n_rows && k + chunk < stride;
    const uint16_t* source = inside ? from + row * stride + k + chunk : from;
    copy16_async(to + row * kStride + chunk, source, inside);
  }
}

template <class Format, class D>
__global__ void __launch_bounds__(D::kThreads)
    matrix_half_kernel(PackedWeight w, ProductShape shape, NarrowRows in, float* out) {
  REALM_DYNAMIC_SHARED(shared);
  const ProductRows rows = rows_of(shape);
  const int64_t first_in = rows.first + int64_t{blockIdx.y} * D::kRows;
  const int64_t first_out = int64_t{blockIdx.x} * D::kCols;
  if (first_in >= rows.end) return;
  auto* stages = reinterpret_cast<uint16_t*>(shared);
  const uint16_t* a_from = in.values + first_in * in.stride;
  const uint16_t* b_from =
      reinterpret_cast<const uint16_t*>(w.quants) + (rows.weight_base + first_out) * w.stride;
  const auto stage_at = [&](int64_t slab) {
    return stages + slab % kStages * (D::kRows + D::kCols) * kStride;
  };
  const int64_t n_slabs = div_up<int64_t>(w.stride, kDepth);
  const auto load = [&](int64_t slab) {
    if (slab < n_slabs) {
      uint16_t* stage = stage_at(slab);
      load_slab<D::kRows, D::kThreads>(stage, a_from, in.stride, rows.end - first_in,
                                       slab * kDepth);
      load_slab<D::kCols, D::kThreads>(stage + D::kRows * kStride, b_from, w.stride,
                                       shape.n_out - first_out, slab * kDepth);
    }
    commit_copies();
  };

  const int lane = lane_index();
  const int row0 = warp_index() / D::kWarpCols * D::kDown * 16;
  const int col0 = warp_index() % D::kWarpCols * D::kAcross * 8;
  float sums[D::kDown][D::kAcross][4] = {};
  for (int64_t slab = 0; slab < kStages - 1; ++slab) load(slab);
  for (int64_t slab = 0; slab < n_slabs; ++slab) {
    await_copies<kStages - 2>();
    __syncthreads();  // the slab is here, and everyone is done with the stage that is filled next
    load(slab + kStages - 1);
    const uint16_t* a_at = stage_at(slab) + row0 * kStride;
    const uint16_t* b_at = stage_at(slab) + (D::kRows + col0) * kStride;
    REALM_UNROLL
    for (int k = 0; k < kDepth; k += 16) {
      uint32_t a[D::kDown][4], b[D::kAcross][2];
      REALM_UNROLL
      for (int i = 0; i < D::kDown; ++i)
        load_matrices(a[i], a_at + (i * 16 + lane % 16) * kStride + k + lane / 16 * 8);
      REALM_UNROLL
      for (int j = 0; j < D::kAcross; j += 2) {
        uint32_t pair[4];
        load_matrices(pair,
                      b_at + (j * 8 + lane / 16 * 8 + lane % 8) * kStride + k + lane / 8 % 2 * 8);
        b[j][0] = pair[0];
        b[j][1] = pair[1];
        b[j + 1][0] = pair[2];
        b[j + 1][1] = pair[3];
      }
      REALM_UNROLL
      for (int i = 0; i < D::kDown; ++i) {
        REALM_UNROLL
        for (int j = 0; j < D::kAcross; ++j) multiply_add<Format>(sums[i][j], a[i], b[j]);
      }
    }
  }
  REALM_UNROLL
  for (int i = 0; i < D::kDown; ++i) {
    REALM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int64_t row = first_in + row0 + i * 16 + lane / 4 + 8 * half;
      if (row >= rows.end) continue;
      const float factor = in.factors[row];
      REALM_UNROLL
      for (int j = 0; j < D::kAcross; ++j) {
        REALM_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int64_t col = first_out + col0 + j * 8 + lane % 4 * 2 + e;
          if (col >= shape.n_out) continue;
          const float bias = shape.bias ? shape.bias[col] : 0.0f;
          out[row * shape.n_out + col] = mul_rn(sums[i][j][2 * half + e], factor) + bias;
        }
      }
    }
  }
}

// Bytes moved: 8 a value.
__global__ void __launch_bounds__(256)
    finish_half_kernel(ProductShape shape, const float* factors, float* out) {
  const int64_t row = blockIdx.x, col = int64_t{blockIdx.y} * blockDim.x + threadIdx.x;
  if (col >= shape.n_out) return;
  const float bias = shape.bias ? shape.bias[col] : 0.0f;
  float& value = out[row * shape.n_out + col];
  value = mul_rn(value, factors[row]) + bias;
}

template <class D>
void launch_divided(const PackedWeight& weight, const ProductShape& shape, const NarrowRows& in,
                    float* out, Stream stream) {
  const dim3 grid(static_cast<unsigned>(div_up<int64_t>(shape.n_out, D::kCols)),
                  static_cast<unsigned>(div_up<int64_t>(shape.n_in, D::kRows)),
                  static_cast<unsigned>(shape.n_experts));
  const dim3 block(D::kThreads);
  if (weight.packing == Packing::kBF16) {
    REALM_LAUNCH((matrix_half_kernel<BrainFormat, D>), grid, block, D::kSharedBytes, stream, weight,
                 shape, in, out);
  } else {
    REALM_LAUNCH((matrix_half_kernel<HalfFormat, D>), grid, block, D::kSharedBytes, stream, weight,
                 shape, in, out);
  }
}

}  // namespace

void launch_matrix_half(const PackedWeight& weight, const ProductShape& shape, NarrowRows in,
                        float* out, Stream stream) {
  const int64_t rows = div_up(shape.n_in, shape.n_experts);
  if (rows <= 16) return launch_divided<Division<1, 4, 1, 4>>(weight, shape, in, out, stream);
  if (rows <= 64) return launch_divided<Division<2, 2, 2, 4>>(weight, shape, in, out, stream);
  launch_divided<Division<2, 4, 4, 4>>(weight, shape, in, out, stream);
}

void launch_finish_half(const ProductShape& shape, const float* factors, float* out,
                        Stream stream) {
  constexpr unsigned kThreads = 256;
  const dim3 grid(static_cast<unsigned>(shape.n_in),
                  static_cast<unsigned>(div_up<int64_t>(shape.n_out, kThreads)));
  REALM_LAUNCH(finish_half_kernel, grid, dim3(kThreads), 0, stream, shape, factors, out);
}

}  // namespace realm::cuda
