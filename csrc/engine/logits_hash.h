// A hash over all rows of logits that an answer was sampled from, in order: two answers with equal
// hashes were computed from equal bits. For tests and diagnosis; it is not cryptographic.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace realm {

inline uint64_t hash_logits(uint64_t before, std::span<const float> row) {
  uint64_t hash = before ^ 0x9E3779B97F4A7C15;
  for (const float logit : row) {
    hash = (hash ^ std::bit_cast<uint32_t>(logit)) * 0x100000001B3;
    hash ^= hash >> 29;
  }
  return hash;
}

}  // namespace realm
