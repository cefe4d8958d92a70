// 16-bit floats as bits, and sums over threads.
#pragma once

#include "metal/device/language.h"

static inline float half_to_float(ushort bits) {
  return float(as_type<half>(bits));
}
static inline ushort float_to_half(float value) {
  return as_type<ushort>(half(value));
}
static inline float bf16_to_float(ushort bits) {
  return as_type<float>(uint(bits) << 16);
}
static inline ushort float_to_bf16(float value) {
  const uint bits = as_type<uint>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return ushort((bits >> 16) | 0x40u);
  return ushort((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float sum_of(float4 v) {
  return (v.x + v.y) + (v.z + v.w);
}

// The sum over a threadgroup of `n_simds` simdgroups, the same in all threads. `parts` holds a
// float for each simdgroup and may still be read from an earlier sum.
static inline float group_sum(float value, threadgroup float* parts, uint simd, uint lane,
                              uint n_simds) {
  value = simd_sum(value);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (lane == 0) parts[simd] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float total = 0;
  for (uint i = 0; i < n_simds; ++i) total += parts[i];
  return total;
}

// Elements of the float formats.
struct FloatElement {
  typedef float Bits;
  static float widen(float value) { return value; }
};
struct HalfElement {
  typedef ushort Bits;
  static float widen(ushort bits) { return half_to_float(bits); }
};
struct BrainElement {
  typedef ushort Bits;
  static float widen(ushort bits) { return bf16_to_float(bits); }
};
