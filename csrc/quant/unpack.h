// Where value i of a block finds its bits: the packings that several formats share, in their
// plainest form. Reference decoders (decode_*.cpp) are written over these. All read bytes, so
// nothing needs alignment, and all take indices that the caller keeps in range. C++17, no state.
#pragma once

#include <cstdint>

namespace realm {

// Value i of 2 * half four-bit values in `half` bytes: all low nibbles first, then all high
// nibbles.
inline int nibble_at(const uint8_t* bytes, int half, int i) {
  return i < half ? bytes[i] & 15 : bytes[i - half] >> 4;
}

// Value i of 128 two-bit values per 32 bytes: bits 0-1 of the 32 bytes, then bits 2-3, 4-5 and 6-7.
inline int crumb_at(const uint8_t* bytes, int i) {
  const int plane = (i / 32) % 4;
  return (bytes[32 * (i / 128) + i % 32] >> (2 * plane)) & 3;
}

// Value i of 256 one-bit values in 32 bytes: bit 0 of all bytes first, bit 7 of all bytes last.
inline int plane_bit_at(const uint8_t* bytes, int i) {
  return (bytes[i % 32] >> (i / 32)) & 1;
}

// Bit i of a little-endian bit string.
inline int bit_at(const uint8_t* bytes, int i) {
  return (bytes[i / 8] >> (i % 8)) & 1;
}

inline uint32_t little_u16(const uint8_t* bytes) {
  return bytes[0] | static_cast<uint32_t>(bytes[1]) << 8;
}

inline uint32_t little_u32(const uint8_t* bytes) {
  return little_u16(bytes) | little_u16(bytes + 2) << 16;
}

struct ScaleMin {
  int scale, min;  // 0 .. 63
};

// Six-bit scale and minimum j of the eight in the 12 `scales` bytes of Q4_K and Q5_K. The first
// four lie in the low bits of bytes 0-3 and 4-7; the last four have their low nibbles in bytes 8-11
// and their two high bits in what bytes 0-7 leave free.
inline ScaleMin scale_min_k4(const uint8_t* scales, int j) {
  if (j < 4) return {scales[j] & 63, scales[j + 4] & 63};
  const uint8_t low = scales[j + 4];
  return {(low & 15) | (scales[j - 4] >> 6) << 4, (low >> 4) | (scales[j] >> 6) << 4};
}

// Scale j, -32 .. 31, of the sixteen in the 12 `scales` bytes of Q3_K: low nibbles in bytes 0-7,
// the two high bits in bytes 8-11.
inline int scale_k3(const uint8_t* scales, int j) {
  const int low = nibble_at(scales, 8, j);
  const int high = (scales[8 + j % 4] >> (2 * (j / 4))) & 3;
  return (low | high << 4) - 32;
}

// The eight signs of a codebook entry from the seven bits that files store: bit 7 makes their
// number even.
inline uint8_t even_signs(uint32_t seven_bits) {
  uint32_t parity = seven_bits ^ seven_bits >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return static_cast<uint8_t>(seven_bits | (parity & 1) << 7);
}

}  // namespace realm
