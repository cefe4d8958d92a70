// What each packing knows of its own bits: the 32 integers of a group as eight words of four signed
// bytes, in order, and the factors that make values of them:
//
//   value i = first * q[i] - min   for i < 16, with `second` in place of `first` for i >= 16
//
// A format adds one struct here (its planes are in packed_weight.h, packed by pack_weight.cpp).
// Values are rounded as the reference decoders round them (quant/decode_*.cpp).
#pragma once

#include "cuda/device/numbers.cuh"
#include "cuda/packed_weight.h"

namespace realm::cuda {

struct GroupFactors {
  float first, second, min;
};

constexpr int kGroup = 32;         // values
constexpr int kGroupsOfSuper = 8;  // in a superblock of 256

// A group's place: its number in its row, and the number of its row's first group in the plane.
struct GroupAt {
  int64_t row_base;
  int group;
  REALM_DEVICE int64_t index() const { return row_base + group; }
  REALM_DEVICE int64_t super() const { return (row_base + group) / kGroupsOfSuper; }
};

REALM_DEVICE float read_half(const uint8_t* plane, int64_t index) {
  return half_to_float(reinterpret_cast<const uint16_t*>(plane)[index]);
}

// Each byte of `q` (0 .. 63) less `offset`.
REALM_DEVICE int minus_each(uint32_t q, uint32_t offset) {
  return static_cast<int>(((q | 0x80808080u) - offset * 0x01010101u) ^ 0x80808080u);
}

// Bits 0-3 of `bits`, one to a byte.
REALM_DEVICE uint32_t spread_bits(uint32_t bits) {
  return ((bits & 15) * 0x00204081u) & 0x01010101u;
}
// The four 2-bit fields of `bits`, one to a byte.
REALM_DEVICE uint32_t spread_pairs(uint32_t bits) {
  return (bits & 0x03u) | (bits & 0x0cu) << 6 | (bits & 0x30u) << 12 | (bits & 0xc0u) << 18;
}

REALM_DEVICE void low_nibbles(const uint8_t* quants, int64_t group, uint32_t (&q)[8]) {
  const Words4 words = load16(quants + group * 16);
  for (int i = 0; i < 4; ++i) {
    q[i] = words.w[i] & 0x0f0f0f0fu;
    q[4 + i] = (words.w[i] >> 4) & 0x0f0f0f0fu;
  }
}

// The eight nibbles of `word` as entries of the IQ4 codebook (quant/codebooks.h): its low nibbles
// and its high ones. A byte pick looks up three bits, so both halves are looked up and the fourth
// bit picks between them.
REALM_DEVICE void look_up_iq4(uint32_t word, int& low, int& high) {
  constexpr uint32_t kT0 = 0xbfad9881u, kT1 = 0xf6eaddcfu, kT2 = 0x26190d01u, kT3 = 0x71594535u;
  const uint32_t which = word & 0x77777777u;
  const uint32_t half = (word & 0x88888888u) >> 1 | 0x32103210u;
  const uint32_t first = pick_bytes(pick_bytes(kT0, kT1, which), pick_bytes(kT2, kT3, which), half);
  const uint32_t last =
      pick_bytes(pick_bytes(kT0, kT1, which >> 16), pick_bytes(kT2, kT3, which >> 16), half >> 16);
  low = static_cast<int>(pick_bytes(first, last, 0x6420));
  high = static_cast<int>(pick_bytes(first, last, 0x7531));
}

REALM_DEVICE void unpack_iq4(const uint8_t* quants, int64_t group, int (&q)[8]) {
  const Words4 words = load16(quants + group * 16);
  for (int i = 0; i < 4; ++i) look_up_iq4(words.w[i], q[i], q[4 + i]);
}

// Six-bit scale and minimum `j` of a Q4_K or Q5_K superblock (quant/unpack.h).
REALM_DEVICE GroupFactors factors_k4(const uint8_t* plane, int64_t super, int j) {
  const Words4 words = load16(plane + super * 16);
  const float d = half_to_float(static_cast<uint16_t>(words.w[0]));
  const float dmin = half_to_float(static_cast<uint16_t>(words.w[0] >> 16));
  const int shift = 8 * (j & 3);
  uint32_t scale, min;
  if (j < 4) {
    scale = (words.w[1] >> shift) & 63;
    min = (words.w[2] >> shift) & 63;
  } else {
    scale = ((words.w[3] >> shift) & 15) | ((words.w[1] >> (shift + 6)) & 3) << 4;
    min = ((words.w[3] >> (shift + 4)) & 15) | ((words.w[2] >> (shift + 6)) & 3) << 4;
  }
  const float step = mul_rn(d, static_cast<float>(scale));
  return {step, step, mul_rn(dmin, static_cast<float>(min))};
}

struct CodecQ4_0 {
  static constexpr bool kHasMin = false, kTwoScales = false;
  static REALM_DEVICE void unpack(const PackedWeight& w, GroupAt at, int (&q)[8]) {
    uint32_t nibbles[8];
    low_nibbles(w.quants, at.index(), nibbles);
    for (int i = 0; i < 8; ++i) q[i] = minus_each(nibbles[i], 8);
  }
  static REALM_DEVICE GroupFactors factors(const PackedWeight& w, GroupAt at) {
    const float d = read_half(w.scales, at.index());
    return {d, d, 0};
  }
};

struct CodecQ8_0 {
  static constexpr bool kHasMin = false, kTwoScales = false;
  static REALM_DEVICE void unpack(const PackedWeight& w, GroupAt at, int (&q)[8]) {
    const Words4 a = load16(w.quants + at.index() * 32),
                 b = load16(w.quants + at.index() * 32 + 16);
    for (int i = 0; i < 4; ++i) {
      q[i] = static_cast<int>(a.w[i]);
      q[4 + i] = static_cast<int>(b.w[i]);
    }
  }
  static REALM_DEVICE GroupFactors factors(const PackedWeight& w, GroupAt at) {
    return CodecQ4_0::factors(w, at);
  }
};

struct CodecQ4_K {
  static constexpr bool kHasMin = true, kTwoScales = false;
  static REALM_DEVICE void unpack(const PackedWeight& w, GroupAt at, int (&q)[8]) {
    uint32_t nibbles[8];
    low_nibbles(w.quants, at.index(), nibbles);
    for (int i = 0; i < 8; ++i) q[i] = static_cast<int>(nibbles[i]);
  }
  static REALM_DEVICE GroupFactors factors(const PackedWeight& w, GroupAt at) {
    return factors_k4(w.scales, at.super(), at.group % kGroupsOfSuper);
  }
};

struct CodecQ5_K {
  static constexpr bool kHasMin = true, kTwoScales = false;
  static REALM_DEVICE void unpack(const PackedWeight& w, GroupAt at, int (&q)[8]) {
    uint32_t nibbles[8];
    low_nibbles(w.quants, at.index(), nibbles);
    const uint32_t high = reinterpret_cast<const uint32_t*>(w.high)[at.index()];
    for (int i = 0; i < 8; ++i)
      q[i] = static_cast<int>(nibbles[i] | spread_bits(high >> (4 * i)) << 4);
  }
  static REALM_DEVICE GroupFactors factors(const PackedWeight& w, GroupAt at) {
    return CodecQ4_K::factors(w, at);
  }
};

struct CodecQ6_K {
  static constexpr bool kHasMin = false, kTwoScales = true;
  static REALM_DEVICE void unpack(const PackedWeight& w, GroupAt at, int (&q)[8]) {
    uint32_t nibbles[8];
    low_nibbles(w.quants, at.index(), nibbles);
    const auto* words = reinterpret_cast<const uint32_t*>(w.high) + at.index() * 2;
    const uint32_t high[2] = {words[0], words[1]};
    for (int i = 0; i < 8; ++i) {
      const uint32_t pairs = spread_pairs(high[i / 4] >> (8 * (i % 4)) & 0xffu);
      q[i] = minus_each(nibbles[i] | pairs << 4, 32);
    }
  }
  static REALM_DEVICE GroupFactors factors(const PackedWeight& w, GroupAt at) {
    const float d = read_half(w.steps, at.super());
    const auto* scales = reinterpret_cast<const int8_t*>(w.scales) + at.index() * 2;
    return {mul_rn(d, static_cast<float>(scales[0])), mul_rn(d, static_cast<float>(scales[1])), 0};
  }
};

struct CodecIQ4_NL {
  static constexpr bool kHasMin = false, kTwoScales = false;
  static REALM_DEVICE void unpack(const PackedWeight& w, GroupAt at, int (&q)[8]) {
    unpack_iq4(w.quants, at.index(), q);
  }
  static REALM_DEVICE GroupFactors factors(const PackedWeight& w, GroupAt at) {
    return CodecQ4_0::factors(w, at);
  }
};

struct CodecIQ4_XS {
  static constexpr bool kHasMin = false, kTwoScales = false;
  static REALM_DEVICE void unpack(const PackedWeight& w, GroupAt at, int (&q)[8]) {
    unpack_iq4(w.quants, at.index(), q);
  }
  static REALM_DEVICE GroupFactors factors(const PackedWeight& w, GroupAt at) {
    const auto* words = reinterpret_cast<const uint32_t*>(w.scales) + at.super() * 2;
    const uint32_t head = words[0], lows = words[1];
    const int j = at.group % kGroupsOfSuper;
    const uint32_t scale = ((lows >> (4 * j)) & 15) | ((head >> (16 + 2 * j)) & 3) << 4;
    const float d = half_to_float(static_cast<uint16_t>(head));
    const float step = mul_rn(d, static_cast<float>(static_cast<int>(scale) - 32));
    return {step, step, 0};
  }
};

// Calls f with the codec of a quantized packing: f(CodecQ4_K{}).
template <class F>
void with_codec(Packing packing, F f) {
  switch (packing) {
    case Packing::kQ4_0:
      return f(CodecQ4_0{});
    case Packing::kQ8_0:
      return f(CodecQ8_0{});
    case Packing::kQ4_K:
      return f(CodecQ4_K{});
    case Packing::kQ5_K:
      return f(CodecQ5_K{});
    case Packing::kQ6_K:
      return f(CodecQ6_K{});
    case Packing::kIQ4_NL:
      return f(CodecIQ4_NL{});
    case Packing::kIQ4_XS:
      return f(CodecIQ4_XS{});
    default:
      return;  // the float packings have kernels of their own
  }
}

// Elements of the float packings.
struct FloatElement {
  using Bits = float;
  static REALM_DEVICE float widen(float value) { return value; }
};
struct HalfElement {
  using Bits = uint16_t;
  static REALM_DEVICE float widen(uint16_t bits) { return half_to_float(bits); }
};
struct BrainElement {
  using Bits = uint16_t;
  static REALM_DEVICE float widen(uint16_t bits) { return bf16_to_float(bits); }
};

template <class F>
void with_element(Packing packing, F f) {
  if (packing == Packing::kF32) return f(FloatElement{});
  if (packing == Packing::kF16) return f(HalfElement{});
  f(BrainElement{});
}

}  // namespace realm::cuda
