// The layout of a page of keys and values: for each KV head kPageTokens keys of `padded_width`
// elements, then as many values; a Q8_0 page has its f16 scales, one per 32 elements and token,
// after the elements of each. Elements beyond the head width are zeros. Every part starts on a
// multiple of 16 bytes. Read by hosts and by kernels of every language (gpu/language.h).
#pragma once

#include "backend/kinds.h"
#include "gpu/language.h"

namespace realm {
namespace gpu {

REALM_CONSTANT int kPageTokens = 32;
REALM_CONSTANT int kMaxHeadWidth = 512;
REALM_CONSTANT int kKvGroup = 32;  // elements that share a Q8_0 scale

struct KvPageLayout {
  int padded_width;                           // of a token's key or value, in elements
  int n_groups;                               // Q8_0 scales of a token
  int64_t k_scales, v, v_scales, head_bytes;  // byte offsets from the head's part of a page
};

REALM_EITHER KvPageLayout kv_page_layout(KvType type, int head_width) {
  const int width = (head_width + 15) / 16 * 16;
  const int element = type == KvType::kF32 ? 4 : type == KvType::kQ8_0 ? 1 : 2;
  const int n_groups = (head_width + kKvGroup - 1) / kKvGroup;
  const int64_t part = int64_t{kPageTokens} * width * element;
  const int64_t scales = type == KvType::kQ8_0 ? int64_t{kPageTokens} * n_groups * 2 : 0;
  return {width, n_groups, part, part + scales, 2 * part + scales, 2 * (part + scales)};
}

}  // namespace gpu
}  // namespace realm
