// Rows of a quantized weight as bf16, for products of so many rows that the vendor's library on
// 16-bit floats is quicker than our integers, the decoding included. A thread for each group of 32
// values; a value is that of the reference decoders, rounded once. Grid: groups of all rows. Bytes
// moved: the packed rows in, 2 a value out. Oracle: the reference decoders (quant/decode_*.cpp).
#include "cuda/codec.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

namespace {

constexpr int kThreads = 128;

template <class Codec>
__global__ void __launch_bounds__(kThreads)
    decode_brain_kernel(PackedWeight w, int64_t first_row, int64_t n_rows, uint16_t* out) {
  const int n_groups = static_cast<int>(w.n_cols / kGroup);
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= n_rows * n_groups) return;
  const GroupAt at{(first_row + index / n_groups) * n_groups, static_cast<int>(index % n_groups)};
  int q[8];
  Codec::unpack(w, at, q);
  const GroupFactors f = Codec::factors(w, at);
  auto* words = reinterpret_cast<Words4*>(out + index * kGroup);
  REALM_UNROLL
  for (int four = 0; four < 4; ++four) {
    Words4 packed;
    REALM_UNROLL
    for (int pair = 0; pair < 4; ++pair) {
      float values[2];
      REALM_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int i = 8 * four + 2 * pair + e;
        const int value = static_cast<int8_t>(static_cast<uint32_t>(q[i / 4]) >> (8 * (i % 4)));
        const float product = mul_rn(i < 16 ? f.first : f.second, static_cast<float>(value));
        values[e] = Codec::kHasMin ? sub_rn(product, f.min) : product;
      }
      packed.w[pair] = narrow_pair<BrainFormat>(values[0], values[1]);
    }
    words[four] = packed;
  }
}

}  // namespace

void launch_decode_brain(const PackedWeight& weight, int64_t first_row, int64_t n_rows,
                         uint16_t* out, Stream stream) {
  const dim3 grid(
      static_cast<unsigned>(div_up<int64_t>(n_rows * (weight.n_cols / kGroup), kThreads)));
  with_codec(weight.packing, [&](auto codec) {
    REALM_LAUNCH(decode_brain_kernel<decltype(codec)>, grid, dim3(kThreads), 0, stream, weight,
                 first_row, n_rows, out);
  });
}

}  // namespace realm::cuda
