// Cached keys and values as kernels read and write them.
#pragma once

#include "metal/device/numbers.h"

// A head's keys or values in a page.
struct KvPart {
  device const uint8_t* elements;
  device const uint8_t* scales;
};

// One KV head's part of a page.
static inline KvPart kv_part(device const uint8_t* cache, long page, int kv_head, int n_kv_heads,
                             thread const KvPageLayout& layout, bool values) {
  device const uint8_t* base = cache + (page * n_kv_heads + kv_head) * layout.head_bytes;
  return {base + (values ? layout.v : 0), base + (values ? layout.v_scales : layout.k_scales)};
}

// Element d of the key or value at a place of the page, as f32.
static inline float read_kv(KvType type, KvPart part, thread const KvPageLayout& layout, int place,
                            int d) {
  const int at = place * layout.padded_width + d;
  if (type == KvType::kF32) return ((device const float*)part.elements)[at];
  if (type == KvType::kF16) return half_to_float(((device const ushort*)part.elements)[at]);
  if (type == KvType::kBF16) return bf16_to_float(((device const ushort*)part.elements)[at]);
  const float scale =
      half_to_float(((device const ushort*)part.scales)[place * layout.n_groups + d / kKvGroup]);
  return scale * float(((device const int8_t*)part.elements)[at]);
}
