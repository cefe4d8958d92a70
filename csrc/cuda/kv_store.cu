// Writes each row's key and value into its slot: a block for a row and KV head, one warp for the
// key, one for the value. Rounding is to nearest; Q8_0 scales as the CPU's (f16 of the largest of
// 32 over 127, quants by the rounded scale). Elements beyond the head width become zeros. Bytes
// moved: k and v in, their encoded form out.
#include "cuda/device/numbers.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

namespace {

struct F32Cache {
  using Element = float;
  static REALM_DEVICE float encode(float x) { return x; }
};
struct HalfCache {
  using Element = uint16_t;
  static REALM_DEVICE uint16_t encode(float x) { return float_to_half(x); }
};
struct BrainCache {
  using Element = uint16_t;
  static REALM_DEVICE uint16_t encode(float x) { return float_to_bf16(x); }
};

// A token's row in a head's part of a page.
template <class Cache>
REALM_DEVICE void store_row(const float* in, int width, const KvPageLayout& layout, int place,
                            uint8_t* elements) {
  auto* out = reinterpret_cast<typename Cache::Element*>(elements) + place * layout.padded_width;
  for (int d = lane_index(); d < layout.padded_width; d += kWarp)
    out[d] = Cache::encode(d < width ? in[d] : 0.0f);
}

REALM_DEVICE void store_row_q8(const float* in, int width, const KvPageLayout& layout, int place,
                               uint8_t* elements, uint8_t* scales) {
  auto* out = reinterpret_cast<int8_t*>(elements) + place * layout.padded_width;
  auto* scale_out = reinterpret_cast<uint16_t*>(scales) + place * layout.n_groups;
  for (int group = 0; group < layout.n_groups; ++group) {
    const int d = group * kKvGroup + lane_index();
    const float x = d < width ? in[d] : 0.0f;
    const uint16_t scale_bits = float_to_half(warp_max(fabsf(x)) / 127.0f);
    const float scale = half_to_float(scale_bits);
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    const float q = fminf(127.0f, fmaxf(-127.0f, round_to_int(x * inverse)));
    if (d < layout.padded_width) out[d] = static_cast<int8_t>(x == x ? q : 0.0f);
    if (lane_index() == 0) scale_out[group] = scale_bits;
  }
}

__global__ void kv_store_kernel(KvPages cache, StepRows rows, const float* k, const float* v) {
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const bool is_value = warp_index() == 1;
  const KvPageLayout layout = kv_page_layout(cache.type, cache.head_width);
  const int64_t slot = rows.slots[row];
  const int place = static_cast<int>(slot % kPageTokens);
  uint8_t* page = cache.data + (slot / kPageTokens * cache.n_kv_heads + head) * layout.head_bytes;
  const float* in = (is_value ? v : k) + (row * cache.n_kv_heads + head) * cache.head_width;
  uint8_t* elements = page + (is_value ? layout.v : 0);
  switch (cache.type) {
    case KvType::kF32:
      return store_row<F32Cache>(in, cache.head_width, layout, place, elements);
    case KvType::kF16:
      return store_row<HalfCache>(in, cache.head_width, layout, place, elements);
    case KvType::kBF16:
      return store_row<BrainCache>(in, cache.head_width, layout, place, elements);
    case KvType::kQ8_0:
      return store_row_q8(in, cache.head_width, layout, place, elements,
                          page + (is_value ? layout.v_scales : layout.k_scales));
  }
}

}  // namespace

void launch_kv_store(const KvPages& cache, const StepRows& rows, const float* k, const float* v,
                     Stream stream) {
  const dim3 grid(static_cast<unsigned>(rows.n_rows), static_cast<unsigned>(cache.n_kv_heads));
  REALM_LAUNCH(kv_store_kernel, grid, dim3(2 * kWarp), 0, stream, cache, rows, k, v);
}

}  // namespace realm::cuda
