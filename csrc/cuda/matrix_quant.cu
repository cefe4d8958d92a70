// Many input rows times a quantized weight on the matrix unit. A block computes 16 * kTilesDown
// rows by 64 columns; a slab is 128 values along k, four groups of 32. The input's bytes come to
// shared memory by asynchronous copies; the weight is unpacked to bytes there, once for all rows of
// the block, while the other of two stages is multiplied. A group's integer products are exact and
// meet the group's factors in f32, groups ascending, in whatever tile an output stands; the bias
// comes last. Rows in shared memory are 144 bytes apart, nine banks of 16, against conflicts. Grid:
// columns x rows x experts. Bytes moved: the packed weight once for each block row, the input once
// for each 64 columns. Oracle: float64 over the decoded weight and the quantized input.
#include "cuda/codec.cuh"
#include "cuda/device/async_copy.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/product_rows.cuh"

namespace realm::cuda {

namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarp;
constexpr int kCols = 64, kTilesAcross = kCols / 8 / kWarps;
constexpr int kGroups = 4;                // of a slab
constexpr int kDepth = kGroups * kGroup;  // values, and bytes
constexpr int kStride = kDepth + 16;      // bytes from a row to the next

// One slab in shared memory.
template <int kRows>
struct Stage {
  alignas(16) int8_t a[kRows][kStride];
  alignas(16) int8_t b[kCols][kStride];
  float a_scales[kRows][kGroups][2];
  GroupFactors b_factors[kCols][kGroups];
};

template <int kRows>
REALM_DEVICE void load_input(Stage<kRows>& stage, const QuantizedRows& in, int64_t first_row,
                             int64_t n_rows, int first_group, int n_groups) {
  constexpr int kChunks = kDepth / 16;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool inside = row < n_rows && first_group + chunk / 2 < n_groups;
    const int64_t at =
        inside ? ((first_row + row) * n_groups + first_group) * kGroup + chunk * 16 : 0;
    copy16_async(&stage.a[row][chunk * 16], in.quants + at, inside);
  }
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kGroups; i += kThreads) {
    const int row = i / kGroups, group = i % kGroups;
    const bool inside = row < n_rows && first_group + group < n_groups;
    const int64_t at = (first_row + row) * n_groups + first_group + group;
    stage.a_scales[row][group][0] = inside ? in.scales[2 * at] : 0.0f;
    stage.a_scales[row][group][1] = inside ? in.scales[2 * at + 1] : 0.0f;
  }
}

template <class Codec, int kRows>
REALM_DEVICE void unpack_weight(Stage<kRows>& stage, const PackedWeight& w, int64_t first_row,
                                int64_t n_rows, int first_group, int n_groups) {
  for (int i = static_cast<int>(threadIdx.x); i < kCols * kGroups; i += kThreads) {
    const int row = i / kGroups, group = i % kGroups;
    int q[8] = {};
    GroupFactors factors{0, 0, 0};
    if (row < n_rows && first_group + group < n_groups) {
      const GroupAt at{(first_row + row) * n_groups, first_group + group};
      Codec::unpack(w, at, q);
      factors = Codec::factors(w, at);
    }
    auto* words = reinterpret_cast<int*>(&stage.b[row][group * kGroup]);
    REALM_UNROLL
    for (int word = 0; word < 8; ++word) words[word] = q[word];
    stage.b_factors[row][group] = factors;
  }
}

// Adds one group's products of a 16 x 8 tile. `row` and `col` are the tile's in the stage.
template <class Codec, int kRows>
REALM_DEVICE void add_group(float (&sums)[4], const Stage<kRows>& stage, const uint32_t (&a)[4],
                            const uint32_t (&b)[2], int group, int row, int col) {
  int first[4] = {}, second[4] = {};
  if (Codec::kTwoScales) {
    multiply_add_int8(first, a[0], a[1], b[0]);
    multiply_add_int8(second, a[2], a[3], b[1]);
  } else {
    multiply_add_int8(first, a, b);
  }
  REALM_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float* x = stage.a_scales[row + lane_index() / 4 + 8 * (i / 2)][group];
    const GroupFactors& f = stage.b_factors[col + lane_index() % 4 * 2 + i % 2][group];
    float sum = f.first * static_cast<float>(first[i]);
    if (Codec::kTwoScales) sum = fmaf(f.second, static_cast<float>(second[i]), sum);
    sums[i] = fmaf(x[0], sum, sums[i]);
    if (Codec::kHasMin) sums[i] = fmaf(-f.min, x[1], sums[i]);
  }
}

template <class Codec, int kTilesDown>
__global__ void __launch_bounds__(kThreads, 1)
    matrix_quant_kernel(PackedWeight w, ProductShape shape, QuantizedRows in, float* out) {
  constexpr int kRows = 16 * kTilesDown;
  REALM_DYNAMIC_SHARED(shared);
  auto* stages = reinterpret_cast<Stage<kRows>*>(shared);
  const ProductRows rows = rows_of(shape);
  const int64_t first_in = rows.first + int64_t{blockIdx.y} * kRows;
  const int64_t first_out = int64_t{blockIdx.x} * kCols;
  if (first_in >= rows.end) return;
  const int n_groups = static_cast<int>(w.n_cols / kGroup);
  const int n_slabs = div_up(n_groups, kGroups);
  const auto load = [&](int slab) {
    Stage<kRows>& stage = stages[slab % 2];
    load_input(stage, in, first_in, rows.end - first_in, slab * kGroups, n_groups);
    commit_copies();
    unpack_weight<Codec>(stage, w, rows.weight_base + first_out, shape.n_out - first_out,
                         slab * kGroups, n_groups);
  };

  const int lane = lane_index(), col0 = warp_index() * kTilesAcross * 8;
  float sums[kTilesDown][kTilesAcross][4] = {};
  load(0);
  for (int slab = 0; slab < n_slabs; ++slab) {
    await_copies<0>();
    __syncthreads();  // the slab is here, and everyone is done with the other stage
    if (slab + 1 < n_slabs) load(slab + 1);
    const Stage<kRows>& stage = stages[slab % 2];
    for (int group = 0; group < kGroups; ++group) {
      uint32_t pair[4];
      load_matrices(pair,
                    &stage.b[col0 + lane / 16 * 8 + lane % 8][group * kGroup + lane / 8 % 2 * 16]);
      const uint32_t b[kTilesAcross][2] = {{pair[0], pair[1]}, {pair[2], pair[3]}};
      REALM_UNROLL
      for (int i = 0; i < kTilesDown; ++i) {
        uint32_t a[4];
        load_matrices(a, &stage.a[i * 16 + lane % 16][group * kGroup + lane / 16 * 16]);
        REALM_UNROLL
        for (int j = 0; j < kTilesAcross; ++j)
          add_group<Codec>(sums[i][j], stage, a, b[j], group, i * 16, col0 + j * 8);
      }
    }
  }
  REALM_UNROLL
  for (int i = 0; i < kTilesDown; ++i) {
    REALM_UNROLL
    for (int j = 0; j < kTilesAcross; ++j) {
      REALM_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int64_t row = first_in + i * 16 + lane / 4 + 8 * (e / 2);
        const int64_t col = first_out + col0 + j * 8 + lane % 4 * 2 + e % 2;
        if (row < rows.end && col < shape.n_out)
          out[row * shape.n_out + col] = sums[i][j][e] + (shape.bias ? shape.bias[col] : 0.0f);
      }
    }
  }
}

template <int kTilesDown>
void launch_tiles(const PackedWeight& weight, const ProductShape& shape, const QuantizedRows& in,
                  float* out, Stream stream) {
  constexpr int kRows = 16 * kTilesDown;
  const dim3 grid(static_cast<unsigned>(div_up<int64_t>(shape.n_out, kCols)),
                  static_cast<unsigned>(div_up<int64_t>(shape.n_in, kRows)),
                  static_cast<unsigned>(shape.n_experts));
  with_codec(weight.packing, [&](auto codec) {
    REALM_LAUNCH((matrix_quant_kernel<decltype(codec), kTilesDown>), grid, dim3(kThreads),
                 2 * sizeof(Stage<kRows>), stream, weight, shape, in, out);
  });
}

}  // namespace

void launch_matrix_quant(const PackedWeight& weight, const ProductShape& shape, QuantizedRows in,
                         float* out, Stream stream) {
  const int64_t rows = div_up(shape.n_in, shape.n_experts);
  if (rows <= 16) return launch_tiles<1>(weight, shape, in, out, stream);
  if (rows <= 32) return launch_tiles<2>(weight, shape, in, out, stream);
  launch_tiles<4>(weight, shape, in, out, stream);
}

}  // namespace realm::cuda
