// Reference decoders of the K formats: 256 values in sub-blocks of 16 or 32, each sub-block with a
// small integer scale (and minimum) that multiplies the block's float ones. The product of scales
// is rounded to float first, then multiplied by the quant, then the minimum is subtracted.
#include "base/half.h"
#include "quant/decoders.h"
#include "quant/unpack.h"

namespace realm {

namespace {

// Low four bits of quant i, 0 .. 255, of Q4_K and Q5_K: 64 values to each run of 32 bytes.
int low_nibble_at(const uint8_t* qs, int i) {
  return nibble_at(qs + 32 * (i / 64), 32, i % 64);
}

// Quant i of Q6_K, 0 .. 63; its low bits hold 128 values in each run of 64 bytes.
int six_bits_at(const BlockQ6_K& block, int i) {
  const int low = nibble_at(block.ql + 64 * (i / 128), 64, i % 128);
  return low | crumb_at(block.qh, i) << 4;
}

}  // namespace

void decode_block(const BlockQ2_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int i = 0; i < 256; ++i) {
    const uint8_t scale_min = block.scales[i / 16];
    const float scale = d * (scale_min & 15);
    const float min = dmin * (scale_min >> 4);
    out[i] = scale * crumb_at(block.qs, i) - min;
  }
}

void decode_block(const BlockQ3_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * scale_k3(block.scales, i / 16);
    const int q = crumb_at(block.qs, i) | plane_bit_at(block.hmask, i) << 2;
    out[i] = scale * (q - 4);
  }
}

void decode_block(const BlockQ4_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int i = 0; i < 256; ++i) {
    const ScaleMin sub = scale_min_k4(block.scales, i / 32);
    const float scale = d * sub.scale;
    const float min = dmin * sub.min;
    out[i] = scale * low_nibble_at(block.qs, i) - min;
  }
}

void decode_block(const BlockQ5_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int i = 0; i < 256; ++i) {
    const ScaleMin sub = scale_min_k4(block.scales, i / 32);
    const float scale = d * sub.scale;
    const float min = dmin * sub.min;
    const int q = low_nibble_at(block.qs, i) | plane_bit_at(block.qh, i) << 4;
    out[i] = scale * q - min;
  }
}

void decode_block(const BlockQ6_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * block.scales[i / 16];
    out[i] = scale * (six_bits_at(block, i) - 32);
  }
}

void decode_block(const BlockQ8_K& block, float* out) {
  for (int i = 0; i < 256; ++i) out[i] = block.d * block.qs[i];
}

}  // namespace realm
