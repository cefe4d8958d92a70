// Conversions and arithmetic whose rounding or instruction matters. 16-bit floats travel as bits.
#pragma once

#include "cuda/device/language.cuh"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#else
#include "base/half.h"
#endif

namespace realm::cuda {

#ifdef __CUDACC__

REALM_DEVICE float half_to_float(uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
REALM_DEVICE uint16_t float_to_half(float value) {
  return __half_as_ushort(__float2half_rn(value));
}
REALM_DEVICE float bf16_to_float(uint16_t bits) {
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}
REALM_DEVICE uint16_t float_to_bf16(float value) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(value));
}
REALM_DEVICE uint32_t float_as_bits(float value) {
  return __float_as_uint(value);
}
REALM_DEVICE float bits_as_float(uint32_t bits) {
  return __uint_as_float(bits);
}
// Rounded each by itself: the compiler may not fuse them.
REALM_DEVICE float mul_rn(float a, float b) {
  return __fmul_rn(a, b);
}
REALM_DEVICE float sub_rn(float a, float b) {
  return __fsub_rn(a, b);
}
REALM_DEVICE float round_to_int(float value) {
  return rintf(value);
}
// sum + the dot product of four signed bytes.
REALM_DEVICE int dot4(int a, int b, int sum) {
  return __dp4a(a, b, sum);
}
// Bytes of the eight in `low` and `high` that the nibbles of `which` name (bits 0-2 of each).
REALM_DEVICE uint32_t pick_bytes(uint32_t low, uint32_t high, uint32_t which) {
  return __byte_perm(low, high, which);
}

#else

inline float half_to_float(uint16_t bits) {
  return f16_to_f32(bits);
}
inline uint16_t float_to_half(float value) {
  return f32_to_f16(value);
}
inline float bf16_to_float(uint16_t bits) {
  return bf16_to_f32(bits);
}
inline uint16_t float_to_bf16(float value) {
  return f32_to_bf16(value);
}
inline uint32_t float_as_bits(float value) {
  return float_bits(value);
}
inline float bits_as_float(uint32_t bits) {
  return bits_float(bits);
}
inline float mul_rn(float a, float b) {
  return a * b;
}
inline float sub_rn(float a, float b) {
  return a - b;
}
inline float round_to_int(float value) {
  return std::nearbyint(value);
}
inline int dot4(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) {
    sum += int{static_cast<int8_t>(static_cast<uint32_t>(a) >> (8 * i))} *
           int{static_cast<int8_t>(static_cast<uint32_t>(b) >> (8 * i))};
  }
  return sum;
}
inline uint32_t pick_bytes(uint32_t low, uint32_t high, uint32_t which) {
  const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
  uint32_t picked = 0;
  for (int i = 0; i < 4; ++i) {
    const auto index = (which >> (4 * i)) & 7;
    picked |= static_cast<uint32_t>(bytes >> (8 * index) & 0xff) << (8 * i);
  }
  return picked;
}

#endif

// Words loaded or stored at once; the address is a multiple of their size.
struct alignas(16) Words4 {
  uint32_t w[4];
};
struct alignas(8) Words2 {
  uint32_t w[2];
};

REALM_DEVICE Words4 load16(const void* at) {
  return *static_cast<const Words4*>(at);
}

// Two numbers as a matrix instruction takes them, the first in the low half.
struct HalfFormat {
  static REALM_DEVICE uint16_t narrow(float value) { return float_to_half(value); }
  static REALM_DEVICE float widen(uint16_t bits) { return half_to_float(bits); }
};
struct BrainFormat {
  static REALM_DEVICE uint16_t narrow(float value) { return float_to_bf16(value); }
  static REALM_DEVICE float widen(uint16_t bits) { return bf16_to_float(bits); }
};

template <class Format>
REALM_DEVICE uint32_t narrow_pair(float low, float high) {
  return static_cast<uint32_t>(Format::narrow(high)) << 16 | Format::narrow(low);
}

}  // namespace realm::cuda
