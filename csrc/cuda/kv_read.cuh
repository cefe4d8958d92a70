// One element of a cached key or value as f32, for kernels that read it plainly.
#pragma once

#include "cuda/device/numbers.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

// A head's keys or values in a page.
struct KvPart {
  const uint8_t* elements;
  const uint8_t* scales;
};

template <KvType kType>
REALM_DEVICE float read_kv(const KvPart& part, const KvPageLayout& layout, int place, int d) {
  const int at = place * layout.padded_width + d;
  if constexpr (kType == KvType::kF32) return reinterpret_cast<const float*>(part.elements)[at];
  const auto* bits = reinterpret_cast<const uint16_t*>(part.elements);
  if constexpr (kType == KvType::kF16) return half_to_float(bits[at]);
  if constexpr (kType == KvType::kBF16) return bf16_to_float(bits[at]);
  if constexpr (kType == KvType::kQ8_0) {
    const auto* scales = reinterpret_cast<const uint16_t*>(part.scales);
    const float scale = half_to_float(scales[place * layout.n_groups + d / kKvGroup]);
    return scale * static_cast<float>(reinterpret_cast<const int8_t*>(part.elements)[at]);
  }
}

}  // namespace realm::cuda
