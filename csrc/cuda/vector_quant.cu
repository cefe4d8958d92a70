// Few input rows times a quantized weight. A warp computes kPerWarp outputs for up to eight rows:
// lane l takes the groups l, l + 32, ... of 32 values, unpacks each once for all rows, multiplies
// in integers and adds in f32; the lanes are then added by butterfly, the bias last. So an output's
// bits depend on its row and the weight alone. Grid: outputs x row octets x experts. Bytes moved:
// the packed weight once for each eight rows; input rows from cache. Oracle: float64 over the
// decoded weight and the quantized input.
#include "cuda/codec.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/product_rows.cuh"

namespace realm::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kPerWarp = 2;  // outputs: each read of the input serves so many
constexpr int kMostRows = 8;

// `total` with the products of one group with one row: sums of 16 each when the format has two
// scales. Fused operations are spelled out: left to the compiler, the bits of a row might depend on
// the number of rows beside it.
template <class Codec>
REALM_DEVICE float add_group(float total, const int (&q)[8], const GroupFactors& f,
                             const Words4& x0, const Words4& x1, float x_scale, float x_sum) {
  int first = 0, second = 0;
  REALM_UNROLL
  for (int i = 0; i < 4; ++i) {
    first = dot4(q[i], static_cast<int>(x0.w[i]), first);
    second = dot4(q[4 + i], static_cast<int>(x1.w[i]), second);
  }
  float sum;
  if (Codec::kTwoScales) {
    sum = fmaf(f.first, static_cast<float>(first), f.second * static_cast<float>(second));
  } else {
    sum = f.first * static_cast<float>(first + second);
  }
  total = fmaf(x_scale, sum, total);
  return Codec::kHasMin ? fmaf(-f.min, x_sum, total) : total;
}

template <class Codec, int kRows>
REALM_DEVICE void vector_rows(const PackedWeight& w, const ProductShape& shape,
                              const QuantizedRows& in, const ProductRows& rows, int64_t first_in,
                              int64_t first_out, float* out) {
  const int n_groups = static_cast<int>(w.n_cols / kGroup);
  float sums[kPerWarp][kRows] = {};
  for (int group = lane_index(); group < n_groups; group += kWarp) {
    int q[kPerWarp][8];
    GroupFactors f[kPerWarp];
    REALM_UNROLL
    for (int o = 0; o < kPerWarp; ++o) {
      const int64_t row = first_out + o < shape.n_out ? first_out + o : shape.n_out - 1;
      const GroupAt at{(rows.weight_base + row) * n_groups, group};
      Codec::unpack(w, at, q[o]);
      f[o] = Codec::factors(w, at);
    }
    REALM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const int64_t at = (first_in + r) * n_groups + group;
      const Words4 x0 = load16(in.quants + at * kGroup), x1 = load16(in.quants + at * kGroup + 16);
      const float x_scale = in.scales[2 * at], x_sum = in.scales[2 * at + 1];
      REALM_UNROLL
      for (int o = 0; o < kPerWarp; ++o)
        sums[o][r] = add_group<Codec>(sums[o][r], q[o], f[o], x0, x1, x_scale, x_sum);
    }
  }
  REALM_UNROLL
  for (int o = 0; o < kPerWarp; ++o) {
    REALM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const float sum = warp_sum(sums[o][r]);
      const int64_t col = first_out + o;
      if (lane_index() == 0 && col < shape.n_out)
        out[(first_in + r) * shape.n_out + col] = sum + (shape.bias ? shape.bias[col] : 0.0f);
    }
  }
}

template <class Codec>
__global__ void __launch_bounds__(kThreads, 1)
    vector_quant_kernel(PackedWeight w, ProductShape shape, QuantizedRows in, float* out) {
  const ProductRows rows = rows_of(shape);
  const int64_t first_out = (int64_t{blockIdx.x} * kWarps + warp_index()) * kPerWarp;
  const int64_t first_in = rows.first + int64_t{blockIdx.y} * kMostRows;
  if (first_out >= shape.n_out || first_in >= rows.end) return;
  const int64_t n = rows.end - first_in;
  switch (n < kMostRows ? static_cast<int>(n) : kMostRows) {
#define REALM_CASE(n_rows) \
  case n_rows:             \
    return vector_rows<Codec, n_rows>(w, shape, in, rows, first_in, first_out, out)
    REALM_CASE(1);
    REALM_CASE(2);
    REALM_CASE(3);
    REALM_CASE(4);
    REALM_CASE(5);
    REALM_CASE(6);
    REALM_CASE(7);
    REALM_CASE(8);
#undef REALM_CASE
  }
}

}  // namespace

void launch_vector_quant(const PackedWeight& weight, const ProductShape& shape, QuantizedRows in,
                         float* out, Stream stream) {
  const dim3 grid(static_cast<unsigned>(div_up<int64_t>(shape.n_out, kWarps * kPerWarp)),
                  static_cast<unsigned>(div_up<int64_t>(shape.n_in, kMostRows)),
                  static_cast<unsigned>(shape.n_experts));
  with_codec(weight.packing, [&](auto codec) {
    REALM_LAUNCH(vector_quant_kernel<decltype(codec)>, grid, dim3(kThreads), 0, stream, weight,
                 shape, in, out);
  });
}

}  // namespace realm::cuda
