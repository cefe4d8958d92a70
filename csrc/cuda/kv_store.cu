// Writes each row's key and value into its slot: a block for a row and KV head, one warp for the
// key, one for the value. Keys may be rotated on the way; then further blocks rotate the queries in
// place, a warp for a row and head. Rounding is to nearest; Q8_0 scales as the CPU's (f16 of the
// largest of 32 over 127, quants by the rounded scale). Elements beyond the head width become
// zeros. Bytes moved: k and v in, their encoded form out.
#include "cuda/device/numbers.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/rotate.cuh"

namespace realm::cuda {

namespace {

constexpr int kWarps = 2;  // of a block: a key's and a value's

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

// A head of one row as it is stored.
struct Plain {
  const float* in;

  REALM_DEVICE float at(int d) const { return in[d]; }
};
struct Turned {
  const float* in;
  const RotationAngles& angles;
  int64_t row;

  REALM_DEVICE float at(int d) const { return rotated_element(in, d, angles, row); }
};

// A token's row in a head's part of a page.
template <class Cache, class Source>
REALM_DEVICE void store_row(const Source& in, int width, const KvPageLayout& layout, int place,
                            uint8_t* elements) {
  auto* out = reinterpret_cast<typename Cache::Element*>(elements) + place * layout.padded_width;
  for (int d = lane_index(); d < layout.padded_width; d += kWarp)
    out[d] = Cache::encode(d < width ? in.at(d) : 0.0f);
}

template <class Source>
REALM_DEVICE void store_row_q8(const Source& in, int width, const KvPageLayout& layout, int place,
                               uint8_t* elements, uint8_t* scales) {
  auto* out = reinterpret_cast<int8_t*>(elements) + place * layout.padded_width;
  auto* scale_out = reinterpret_cast<uint16_t*>(scales) + place * layout.n_groups;
  for (int group = 0; group < layout.n_groups; ++group) {
    const int d = group * kKvGroup + lane_index();
    const float x = d < width ? in.at(d) : 0.0f;
    const uint16_t scale_bits = float_to_half(warp_max(fabsf(x)) / 127.0f);
    const float scale = half_to_float(scale_bits);
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    const float q = fminf(127.0f, fmaxf(-127.0f, round_to_int(x * inverse)));
    if (d < layout.padded_width) out[d] = static_cast<int8_t>(x == x ? q : 0.0f);
    if (lane_index() == 0) scale_out[group] = scale_bits;
  }
}

// What a warp does for one row's key or value.
template <class Source>
REALM_DEVICE void store(const KvPages& cache, int64_t slot, int64_t head, bool is_value,
                        const Source& in) {
  const KvPageLayout layout = kv_page_layout(cache.type, cache.head_width);
  const int place = static_cast<int>(slot % kPageTokens);
  uint8_t* page = cache.data + (slot / kPageTokens * cache.n_kv_heads + head) * layout.head_bytes;
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

__global__ void kv_store_kernel(KvPages cache, StepRows rows, const float* k, const float* v) {
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const bool is_value = warp_index() == 1;
  const float* in = (is_value ? v : k) + (row * cache.n_kv_heads + head) * cache.head_width;
  store(cache, rows.slots[row], head, is_value, Plain{in});
}

__global__ void rotate_and_store_kernel(KvPages cache, StepRows rows, RotationAngles angles,
                                        int n_heads, float* q, const float* k, const float* v) {
  const int64_t row = blockIdx.x;
  if (static_cast<int>(blockIdx.y) >= cache.n_kv_heads) {
    const int head = (static_cast<int>(blockIdx.y) - cache.n_kv_heads) * kWarps + warp_index();
    if (head >= n_heads) return;
    float* at = q + (row * n_heads + head) * cache.head_width;
    for (int64_t pair = lane_index(); pair < angles.half; pair += kWarp)
      rotate_in_place(at, pair, angles, row);
    return;
  }
  const int64_t head = blockIdx.y;
  const int64_t at = (row * cache.n_kv_heads + head) * cache.head_width;
  if (warp_index() == 1) {
    store(cache, rows.slots[row], head, true, Plain{v + at});
  } else {
    store(cache, rows.slots[row], head, false, Turned{k + at, angles, row});
  }
}

}  // namespace

void launch_kv_store(const KvPages& cache, const StepRows& rows, const float* k, const float* v,
                     Stream stream) {
  const dim3 grid(static_cast<unsigned>(rows.n_rows), static_cast<unsigned>(cache.n_kv_heads));
  REALM_LAUNCH(kv_store_kernel, grid, dim3(kWarps * kWarp), 0, stream, cache, rows, k, v);
}

void launch_rotate_and_store(const KvPages& cache, const StepRows& rows,
                             const RotationAngles& angles, int64_t n_heads, float* q,
                             const float* k, const float* v, Stream stream) {
  const dim3 grid(static_cast<unsigned>(rows.n_rows),
                  static_cast<unsigned>(cache.n_kv_heads + div_up<int64_t>(n_heads, kWarps)));
  REALM_LAUNCH(rotate_and_store_kernel, grid, dim3(kWarps * kWarp), 0, stream, cache, rows, angles,
               static_cast<int>(n_heads), q, k, v);
}

}  // namespace realm::cuda
