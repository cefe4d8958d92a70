// How the CPU lays out one KV head's 16 tokens (a page) in the cache. Keys are stored turned: for
// each of the D elements the 16 tokens side by side, so that a score tile needs no horizontal sums;
// values lie token by token, each token's padded with zeros to a multiple of 16. Q8_0 pages keep
// one f16 scale per 32 elements and token. Also how much memory attention works in. C++17, no
// standard library: kernels include it.
#pragma once

#include <stdint.h>

#include "cpu/kernels.h"

namespace realm::cpu {

struct KvLayout {
  int64_t padded_width;
  int64_t k_scales, v, v_scales, bytes;  // byte offsets in a page; keys begin at 0
};

constexpr int kKvScaleGroup = 32;

static inline int64_t kv_element_bytes(KvType type) {
  switch (type) {
    case KvType::kF32:
      return 4;
    case KvType::kF16:
    case KvType::kBF16:
      return 2;
    case KvType::kQ8_0:
      return 1;
  }
  return 0;
}

static inline KvLayout kv_layout(KvType type, int head_width) {
  const int64_t padded_width = (head_width + kLanes - 1) / kLanes * kLanes;
  const int64_t part = kLanes * padded_width * kv_element_bytes(type);
  const int64_t groups = (head_width + kKvScaleGroup - 1) / kKvScaleGroup;
  const int64_t scales = type == KvType::kQ8_0 ? kLanes * groups * 2 : 0;
  return {padded_width, part, part + scales, 2 * part + scales, 2 * (part + scales)};
}

// Of a query between its stretches: its values, its weights by lane, and its maximum.
static inline int64_t attend_state_floats(int64_t padded_width) {
  return padded_width + 2 * kLanes;
}

static inline int64_t attend_scratch_floats(int64_t padded_width) {
  return (kMaxQueries + kBlockKeys) * padded_width + kMaxQueries * kBlockKeys;
}

}  // namespace realm::cpu
