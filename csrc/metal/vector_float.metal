// Few input rows times an F32, F16 or BF16 weight: a simdgroup for an output, up to
// kVectorFloatRows rows at a time. Lane l takes the values 4 l .. 4 l + 3, then those 128 further
// on, one fused multiply-add each; the lanes are added last, then the bias. An output's bits depend
// on its row and the weight alone. Grid: outputs x row groups x experts. Bytes moved: the weight
// once for each four rows. Oracle: float64.
#include "metal/device/numbers.h"
#include "metal/product_rows.h"

template <class Element>
kernel void vector_float_kernel(
    device const uint8_t* weight [[buffer(0)]], device const float* in [[buffer(1)]],
    device const float* bias [[buffer(2)]], device const int* segments [[buffer(3)]],
    device float* out [[buffer(4)]], constant ProductParams& p [[buffer(5)]],
    uint3 group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
  const ProductRows rows = rows_of(p, segments, group.z);
  const long col = long(group.x) * kVectorSimds + simd;
  const long first_in = rows.first + long(group.y) * kVectorFloatRows;
  if (col >= p.n_out || first_in >= rows.end) return;
  const int n = int(min(rows.end - first_in, long(kVectorFloatRows)));
  device const typename Element::Bits* values =
      (device const typename Element::Bits*)weight + (rows.weight_base + col) * p.n_cols;
  float sums[kVectorFloatRows] = {};
  for (long k = long(lane) * 4; k < p.n_cols; k += kSimd * 4) {
    const int n_here = int(min(long(p.n_cols) - k, long(4)));
    for (int i = 0; i < 4; ++i) {
      if (i >= n_here) break;
      const float w = Element::widen(values[k + i]);
      for (int r = 0; r < kVectorFloatRows; ++r)
        if (r < n) sums[r] = fma(in[(first_in + r) * p.n_cols + k + i], w, sums[r]);
    }
  }
  for (int r = 0; r < n; ++r) {
    const float sum = simd_sum(sums[r]);
    if (lane == 0) out[(first_in + r) * p.n_out + col] = sum + (p.has_bias ? bias[col] : 0.0f);
  }
}

typedef decltype(vector_float_kernel<FloatElement>) vector_float_t;
template [[host_name("vector_f32")]] kernel vector_float_t vector_float_kernel<FloatElement>;
template [[host_name("vector_f16")]] kernel vector_float_t vector_float_kernel<HalfElement>;
template [[host_name("vector_bf16")]] kernel vector_float_t vector_float_kernel<BrainElement>;
