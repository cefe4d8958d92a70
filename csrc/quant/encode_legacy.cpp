// Encoders of the 32-value formats: one scale, for Q4_1 and Q5_1 also a minimum, straight from the
// extremes of a block. They give the bytes of the `gguf` package's `quantize`: its order of float
// operations, its roundings, and therefore its limits. A scale beyond the largest half is written
// as infinity, as there. (One freedom: the sign of a zero minimum where a block has zeros of both
// signs, which numpy leaves open.)
//
// The loops carry no dependence from one value to the next and no branch, so that compilers
// vectorise them.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/encode_block.h"
#include "quant/encoders.h"

namespace realm {

namespace {

constexpr int kBlock = 32;

// The first value of largest magnitude, with its sign.
float peak(const float* x) {
  const auto [min, max] = extremes<kBlock>(x);
  if (max > -min) return max;
  if (max < -min) return min;
  return *std::find_if(x, x + kBlock, [top = max](float v) { return std::fabs(v) == top; });
}

// 1 / d, with 0 for 0.
float inverse(float d) {
  return d == 0 ? 0 : 1 / d;
}

// A subnormal d has no finite inverse, and the span max - min of finite values may be infinite. The
// gguf package then casts infinities and NaN to integers, whose outcome C leaves open and which is
// 0 on x86: so are our quants of such a block.
bool usable(float d, float inverse_d) {
  return std::isfinite(d) && std::isfinite(inverse_d);
}

// q = trunc(x / d + offset) up to `top`; offset - 0.5 is the quant of zero. x / d + offset is never
// negative where d comes from the peak of the block.
void quantize_symmetric(const float* x, float d, float offset, int top, uint8_t* q) {
  const float inverse_d = inverse(d);
  if (!usable(d, inverse_d)) {
    std::fill_n(q, kBlock, uint8_t{0});
    return;
  }
  for (int i = 0; i < kBlock; ++i) {
    const int rounded = static_cast<int>(x[i] * inverse_d + offset);
    q[i] = static_cast<uint8_t>(rounded < top ? rounded : top);
  }
}

// q = round((x - min) / d) up to `top`.
void quantize_affine(const float* x, float d, float min, int top, uint8_t* q) {
  const float inverse_d = inverse(d);
  if (!usable(d, inverse_d)) {
    std::fill_n(q, kBlock, uint8_t{0});
    return;
  }
  for (int i = 0; i < kBlock; ++i) {
    const int rounded = static_cast<int>((x[i] - min) * inverse_d + 0.5f);
    q[i] = static_cast<uint8_t>(rounded < top ? rounded : top);
  }
}

void encode_block(const float* x, BlockQ4_0& block) {
  const float d = peak(x) / -8;
  uint8_t q[kBlock];
  quantize_symmetric(x, d, 8.5f, 15, q);
  block.d = f32_to_f16(d);
  pack_nibbles(q, kBlock / 2, block.qs);
}

void encode_block(const float* x, BlockQ4_1& block) {
  const auto [min, max] = extremes<kBlock>(x);
  const float d = (max - min) / 15;
  uint8_t q[kBlock];
  quantize_affine(x, d, min, 15, q);
  block.d = f32_to_f16(d);
  block.m = f32_to_f16(min);
  pack_nibbles(q, kBlock / 2, block.qs);
}

void encode_block(const float* x, BlockQ5_0& block) {
  const float d = peak(x) / -16;
  uint8_t q[kBlock];
  quantize_symmetric(x, d, 16.5f, 31, q);
  block.d = f32_to_f16(d);
  pack_bits(q, 4, block.qh);
  pack_nibbles(q, kBlock / 2, block.qs);
}

void encode_block(const float* x, BlockQ5_1& block) {
  const auto [min, max] = extremes<kBlock>(x);
  const float d = (max - min) / 31;
  uint8_t q[kBlock];
  quantize_affine(x, d, min, 31, q);
  block.d = f32_to_f16(d);
  block.m = f32_to_f16(min);
  pack_bits(q, 4, block.qh);
  pack_nibbles(q, kBlock / 2, block.qs);
}

// Half away from zero: truncating |v| + 0.5 would round 0.49999997 up, comparing the exact fraction
// does not.
int round_half_away(float v) {
  const int whole = static_cast<int>(v);
  const float fraction = v - static_cast<float>(whole);
  return whole + (fraction >= 0.5f) - (fraction <= -0.5f);
}

void encode_block(const float* x, BlockQ8_0& block) {
  const auto [min, max] = extremes<kBlock>(x);
  const float d = std::max(std::fabs(min), std::fabs(max)) / 127;
  const float inverse_d = inverse(d);
  block.d = f32_to_f16(d);
  if (!usable(d, inverse_d)) {
    std::fill_n(block.qs, kBlock, int8_t{0});
    return;
  }
  for (int i = 0; i < kBlock; ++i) {
    block.qs[i] = static_cast<int8_t>(round_half_away(x[i] * inverse_d));
  }
}

}  // namespace

void encode_q4_0(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kBlock, BlockQ4_0>(in, blocks, n_blocks, encode_block);
}

void encode_q4_1(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kBlock, BlockQ4_1>(in, blocks, n_blocks, encode_block);
}

void encode_q5_0(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kBlock, BlockQ5_0>(in, blocks, n_blocks, encode_block);
}

void encode_q5_1(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kBlock, BlockQ5_1>(in, blocks, n_blocks, encode_block);
}

void encode_q8_0(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kBlock, BlockQ8_0>(in, blocks, n_blocks, encode_block);
}

}  // namespace realm
