// Reference decoders of the four-bit float formats MXFP4 and NVFP4 and of the ternary ones, TQ1_0
// and TQ2_0. E2M1 codes are read from a table of doubled values, which are integers, so scales are
// read halved; the products are the same floats, down to the subnormal ones.
#include <cmath>

#include "base/half.h"
#include "quant/codebooks.h"
#include "quant/decoders.h"
#include "quant/unpack.h"

namespace realm {

namespace {

// 2^(e - 128). The standard's NaN, e = 255, reads as 2^127 here: so the `gguf` package has it.
float half_of_e8m0(uint8_t e) {
  if (e < 2) return bits_float(0x00200000u << e);  // subnormal
  return bits_float((e - 1u) << 23);
}

// Half the unsigned E4M3 float `x`: exponent bias 7, top bit without meaning. The standard's NaN,
// 0x7f, reads as zero, as in the `gguf` package.
float half_of_ue4m3(uint8_t x) {
  if (x == 0x7f) return 0;
  const int exponent = (x >> 3) & 15;
  const int mantissa = x & 7;
  if (exponent == 0) return std::ldexp(static_cast<float>(mantissa), -10);
  return std::ldexp(static_cast<float>(8 + mantissa), exponent - 11);
}

// Base-3 digit n of `byte`, which holds the fraction 0.t0t1t2t3t4 in units of 1/256, rounded up.
// Multiplying by 3^n modulo 256 drops the digits before it.
int ternary_digit(uint8_t byte, int n) {
  constexpr uint8_t kPowersOf3[5] = {1, 3, 9, 27, 81};
  const auto fraction = static_cast<uint8_t>(byte * kPowersOf3[n]);
  return fraction * 3 >> 8;
}

// Digit 0 of each of `n_bytes`, then digit 1 of each, and so on. Returns the end of what it wrote.
float* put_ternary(float d, const uint8_t* bytes, int n_bytes, int n_digits, float* out) {
  for (int n = 0; n < n_digits; ++n) {
    for (int i = 0; i < n_bytes; ++i) *out++ = d * (ternary_digit(bytes[i], n) - 1);
  }
  return out;
}

}  // namespace

void decode_block(const BlockMXFP4& block, float* out) {
  const float d = half_of_e8m0(block.e);
  for (int i = 0; i < 32; ++i) out[i] = d * kLevelsE2M1x2[nibble_at(block.qs, 16, i)];
}

void decode_block(const BlockNVFP4& block, float* out) {
  for (int i = 0; i < 64; ++i) {
    const int j = i / 16;
    const float d = half_of_ue4m3(block.d[j]);
    out[i] = d * kLevelsE2M1x2[nibble_at(block.qs + 8 * j, 8, i % 16)];
  }
}

void decode_block(const BlockTQ1_0& block, float* out) {
  const float d = f16_to_f32(block.d);
  out = put_ternary(d, block.qs, 32, 5, out);
  out = put_ternary(d, block.qs + 32, 16, 5, out);
  put_ternary(d, block.qh, 4, 4, out);
}

void decode_block(const BlockTQ2_0& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 256; ++i) out[i] = d * (crumb_at(block.qs, i) - 1);
}

}  // namespace realm
