// Few input rows times a quantized weight, in f32. A simdgroup computes kVectorOutputs outputs for
// up to kVectorRows rows: lane l takes the pieces l, l + 32, ... of sixteen values, unpacks each
// once for all rows; the lanes are added last, then the bias. So an output's bits depend on its row
// and the weight alone. Grid: outputs x row octets x experts. Bytes moved: the weight once for each
// eight rows; input rows from cache. Oracle: float64 over the decoded weight.
#include "metal/codec.h"
#include "metal/product_rows.h"

template <class Codec>
kernel void vector_quant_kernel(
    device const uint8_t* weight [[buffer(0)]], device const float* in [[buffer(1)]],
    device const float* bias [[buffer(2)]], device const int* segments [[buffer(3)]],
    device float* out [[buffer(4)]], constant ProductParams& p [[buffer(5)]],
    uint3 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
  const ProductRows rows = rows_of(p, segments, group.z);
  const long first_out = (long(group.x) * kVectorSimds + simd) * kVectorOutputs;
  const long first_in = rows.first + long(group.y) * kVectorRows;
  if (first_out >= p.n_out || first_in >= rows.end) return;
  const int n = int(min(rows.end - first_in, long(kVectorRows)));
  float sums[kVectorOutputs][kVectorRows] = {};
  for (int piece = int(lane); piece < p.n_cols / kPiece; piece += kSimd) {
    float4 q[kVectorOutputs][4];
    Factors f[kVectorOutputs];
    for (int o = 0; o < kVectorOutputs; ++o) {
      const long row = rows.weight_base + min(first_out + o, long(p.n_out - 1));
      device const typename Codec::Block& block = block_of<Codec>(weight, row, p.n_cols, piece);
      Codec::unpack(block, piece % Codec::kPieces, q[o]);
      f[o] = Codec::factors(block, piece % Codec::kPieces);
    }
    for (int r = 0; r < kVectorRows; ++r) {
      if (r >= n) break;
      device const packed_float4* x =
          (device const packed_float4*)(in + (first_in + r) * p.n_cols + piece * kPiece);
      const float4 x0 = float4(x[0]), x1 = float4(x[1]), x2 = float4(x[2]), x3 = float4(x[3]);
      const float total = sum_of((x0 + x1) + (x2 + x3));
      for (int o = 0; o < kVectorOutputs; ++o) {
        const float product = sum_of((q[o][0] * x0 + q[o][1] * x1) + (q[o][2] * x2 + q[o][3] * x3));
        sums[o][r] += f[o].step * product - f[o].min * total;
      }
    }
  }
  for (int o = 0; o < kVectorOutputs; ++o) {
    const long col = first_out + o;
    for (int r = 0; r < n; ++r) {
      const float sum = simd_sum(sums[o][r]);
      if (lane == 0 && col < p.n_out)
        out[(first_in + r) * p.n_out + col] = sum + (p.has_bias ? bias[col] : 0.0f);
    }
  }
}

typedef decltype(vector_quant_kernel<CodecQ4_0>) vector_quant_t;
template [[host_name("vector_q4_0")]] kernel vector_quant_t vector_quant_kernel<CodecQ4_0>;
template [[host_name("vector_q8_0")]] kernel vector_quant_t vector_quant_kernel<CodecQ8_0>;
template [[host_name("vector_q4_k")]] kernel vector_quant_t vector_quant_kernel<CodecQ4_K>;
template [[host_name("vector_q5_k")]] kernel vector_quant_t vector_quant_kernel<CodecQ5_K>;
template [[host_name("vector_q6_k")]] kernel vector_quant_t vector_quant_kernel<CodecQ6_K>;
