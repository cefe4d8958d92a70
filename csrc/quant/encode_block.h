// What all block encoders share: the walk over blocks, extremes, and the packings, inverse to
// quant/unpack.h. Quants count from 0 here, one to a byte of `q`; bits above a packing's width are
// ignored. Private to quant/encode_*.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace realm {

// Encodes block by block, each on the stack first because `blocks` may be unaligned.
template <int kElements, class Block>
void encode_each(const float* in, std::byte* blocks, uint64_t n_blocks,
                 void (*encode_block)(const float* x, Block& block)) {
  for (uint64_t i = 0; i < n_blocks; ++i) {
    Block block;
    encode_block(in + i * kElements, block);
    std::memcpy(blocks + i * sizeof block, &block, sizeof block);
  }
}

struct Extremes {
  float min, max;
};

// Of x[0 .. kCount). Eight independent running extremes: a single one is a chain that no compiler
// may reorder.
template <int kCount>
Extremes extremes(const float* x) {
  constexpr int kLanes = 8;
  static_assert(kCount % kLanes == 0);
  float min[kLanes], max[kLanes];
  std::copy_n(x, kLanes, min);
  std::copy_n(x, kLanes, max);
  for (int i = kLanes; i < kCount; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = x[i + lane];
      min[lane] = value < min[lane] ? value : min[lane];
      max[lane] = value > max[lane] ? value : max[lane];
    }
  }
  return {*std::min_element(min, min + kLanes), *std::max_element(max, max + kLanes)};
}

// 2 * half four-bit values in `half` bytes: byte i holds value i low and value i + half high.
inline void pack_nibbles(const uint8_t* q, int half, uint8_t* bytes) {
  for (int i = 0; i < half; ++i) {
    bytes[i] = static_cast<uint8_t>((q[i] & 15) | (q[i + half] << 4));
  }
}

// 256 two-bit values in 64 bytes: each run of 32 bytes holds 128, the first 32 in bits 0-1.
inline void pack_crumbs(const uint8_t* q, uint8_t* bytes) {
  for (int i = 0; i < 64; ++i) {
    const uint8_t* v = q + 128 * (i / 32) + i % 32;
    bytes[i] = static_cast<uint8_t>((v[0] & 3) | (v[32] & 3) << 2 | (v[64] & 3) << 4 | v[96] << 6);
  }
}

// Bit `bit` of 256 values in 32 bytes: bit k of byte i is from value 32 * k + i.
inline void pack_plane_bits(const uint8_t* q, int bit, uint8_t* bytes) {
  for (int i = 0; i < 32; ++i) {
    int plane = 0;
    for (int k = 0; k < 8; ++k) plane |= ((q[32 * k + i] >> bit) & 1) << k;
    bytes[i] = static_cast<uint8_t>(plane);
  }
}

// Bit `bit` of 32 values in 4 bytes, as a little-endian bit string.
inline void pack_bits(const uint8_t* q, int bit, uint8_t* bytes) {
  for (int i = 0; i < 4; ++i) {
    int bits = 0;
    for (int k = 0; k < 8; ++k) bits |= ((q[8 * i + k] >> bit) & 1) << k;
    bytes[i] = static_cast<uint8_t>(bits);
  }
}

// Eight scales and eight minimums, 0 .. 63, in the 12 bytes of Q4_K and Q5_K (layout at
// scale_min_k4).
inline void pack_scale_mins_k4(const int* scales, const int* mins, uint8_t* bytes) {
  for (int j = 0; j < 4; ++j) {
    bytes[j] = static_cast<uint8_t>(scales[j] | (scales[j + 4] >> 4) << 6);
    bytes[j + 4] = static_cast<uint8_t>(mins[j] | (mins[j + 4] >> 4) << 6);
    bytes[j + 8] = static_cast<uint8_t>((scales[j + 4] & 15) | (mins[j + 4] & 15) << 4);
  }
}

// Sixteen scales, -32 .. 31, in the 12 bytes of Q3_K (layout at scale_k3).
inline void pack_scales_k3(const int* scales, uint8_t* bytes) {
  for (int j = 0; j < 8; ++j) {
    bytes[j] = static_cast<uint8_t>(((scales[j] + 32) & 15) | ((scales[j + 8] + 32) & 15) << 4);
  }
  for (int j = 0; j < 4; ++j) {
    int high = 0;
    for (int k = 0; k < 4; ++k) high |= ((scales[j + 4 * k] + 32) >> 4) << (2 * k);
    bytes[8 + j] = static_cast<uint8_t>(high);
  }
}

}  // namespace realm
