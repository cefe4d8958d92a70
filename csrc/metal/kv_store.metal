// Writes each row's key and value into its slot: a threadgroup for a row and KV head, one simdgroup
// for the key, one for the value. Rounding is to nearest; Q8_0 scales as the CPU's (f16 of the
// largest of 32 over 127, quants by the rounded scale). Elements beyond the head width become
// zeros. Bytes moved: k and v in, their encoded form out.
#include "metal/kv_read.h"

static inline void store_row_q8(device const float* in, int width,
                                thread const KvPageLayout& layout, int place,
                                device uint8_t* elements, device uint8_t* scales, int lane) {
  device int8_t* out = (device int8_t*)elements + place * layout.padded_width;
  device ushort* scale_out = (device ushort*)scales + place * layout.n_groups;
  for (int group = 0; group < layout.n_groups; ++group) {
    const int d = group * kKvGroup + lane;
    const float x = d < width ? in[d] : 0.0f;
    const ushort scale_bits = float_to_half(simd_max(fabs(x)) / 127.0f);
    const float scale = half_to_float(scale_bits);
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    const float q = fmin(127.0f, fmax(-127.0f, rint(x * inverse)));
    if (d < layout.padded_width) out[d] = x == x ? int8_t(q) : int8_t(0);
    if (lane == 0) scale_out[group] = scale_bits;
  }
}

kernel void kv_store_kernel(device uint8_t* cache [[buffer(0)]],
                            device const int* rows [[buffer(1)]],
                            device const float* k [[buffer(2)]],
                            device const float* v [[buffer(3)]], constant KvParams& p [[buffer(4)]],
                            uint2 group [[threadgroup_position_in_grid]],
                            uint simd [[simdgroup_index_in_threadgroup]],
                            uint thread_lane [[thread_index_in_simdgroup]]) {
  const long row = group.x, head = group.y;
  const bool is_value = simd == 1;
  const int lane = int(thread_lane), width = p.head_width;
  const KvPageLayout layout = kv_page_layout(p.type, width);
  const int slot = rows[p.n_rows + row], place = slot % kPageTokens;
  device uint8_t* page =
      cache + (slot / kPageTokens * long(p.n_kv_heads) + head) * layout.head_bytes;
  device const float* in = (is_value ? v : k) + (row * p.n_kv_heads + head) * width;
  device uint8_t* elements = page + (is_value ? layout.v : 0);
  if (p.type == KvType::kQ8_0) {
    store_row_q8(in, width, layout, place, elements,
                 page + (is_value ? layout.v_scales : layout.k_scales), lane);
    return;
  }
  for (int d = lane; d < layout.padded_width; d += kSimd) {
    const float x = d < width ? in[d] : 0.0f;
    const int at = place * layout.padded_width + d;
    if (p.type == KvType::kF32) {
      ((device float*)elements)[at] = x;
    } else if (p.type == KvType::kF16) {
      ((device ushort*)elements)[at] = float_to_half(x);
    } else {
      ((device ushort*)elements)[at] = float_to_bf16(x);
    }
  }
}
