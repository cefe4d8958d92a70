// Scalar conversions between float and the 16-bit floats of weight files. Exact by IEEE
// rules: f16 and bf16 round to nearest even; NaN stays NaN (quiet), infinities stay. C++17, no
// state.
#pragma once

#include <cstdint>
#include <cstring>

namespace realm {

inline uint32_t float_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float bits_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float bf16_to_f32(uint16_t half) {
  return bits_float(static_cast<uint32_t>(half) << 16);
}

inline uint16_t f32_to_bf16(float value) {
  const uint32_t bits = float_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

inline float f16_to_f32(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) {  // infinity or NaN; a signalling NaN becomes quiet, as hardware does
    const uint32_t quiet = magnitude > 0x7c00 ? 0x400000u : 0;
    return bits_float(sign | 0x7f800000u | quiet | (magnitude & 0x3ff) << 13);
  }
  if (magnitude < 0x400) {  // zero or subnormal: exact in float as an integer times 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return bits_float(sign | float_bits(value));
  }
  return bits_float(sign | ((magnitude << 13) + (112u << 23)));
}

inline uint16_t f32_to_f16(float value) {
  const uint32_t bits = float_bits(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x7f800000u) {
    const uint32_t payload = magnitude > 0x7f800000u ? 0x200u | ((magnitude >> 13) & 0x3ff) : 0;
    return static_cast<uint16_t>(sign | 0x7c00u | payload);
  }
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds past 65504
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 lets the FPU round at 2^-24
    const float shifted = bits_float(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (float_bits(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | (rounded >> 13));
}

}  // namespace realm
