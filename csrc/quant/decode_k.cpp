// Reference decoders of the K formats: 256 values in sub-blocks of 16 or 32, each sub-block with a
// small integer scale (and minimum) that multiplies the block's float ones. The product of scales
// is rounded to float first, then multiplied by the quant, then the minimum is subtracted.
#include "base/half.h"
#include "quant/decoders.h"
#include "quant/unpack.h"

namespace realm {

namespace {

// The four-bit quants of sub-block j, 0 .. 7, of Q4_K and Q5_K: two sub-blocks share 32 bytes.
struct Nibbles {
  const uint8_t* bytes;
  int shift;

  Nibbles(const uint8_t* qs, int j) : bytes(qs + 32 * (j / 2)), shift(4 * (j % 2)) {}
  int operator[](int i) const { return (bytes[i] >> shift) & 15; }
};

// The six-bit quants of the 32 values 32 * j .., j 0 .. 7, of Q6_K: their low nibbles hold 128
// values in each run of 64 bytes, their high bits 128 in each run of 32.
struct SixBits {
  const uint8_t *low, *high;
  int low_shift, high_shift;

  SixBits(const BlockQ6_K& block, int j)
      : low(block.ql + 64 * (j / 4) + 32 * (j % 2)),
        high(block.qh + 32 * (j / 4)),
        low_shift(4 * (j % 4 / 2)),
        high_shift(2 * (j % 4)) {}
  int operator[](int i) const {
    return ((low[i] >> low_shift) & 15) | ((high[i] >> high_shift) & 3) << 4;
  }
};

}  // namespace

void decode_block(const BlockQ2_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int j = 0; j < 16; ++j) {
    const float scale = d * (block.scales[j] & 15);
    const float min = dmin * (block.scales[j] >> 4);
    for (int i = 16 * j; i < 16 * (j + 1); ++i) out[i] = scale * crumb_at(block.qs, i) - min;
  }
}

void decode_block(const BlockQ3_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int j = 0; j < 16; ++j) {
    const float scale = d * scale_k3(block.scales, j);
    for (int i = 16 * j; i < 16 * (j + 1); ++i) {
      const int q = crumb_at(block.qs, i) | plane_bit_at(block.hmask, i) << 2;
      out[i] = scale * (q - 4);
    }
  }
}

void decode_block(const BlockQ4_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin sub = scale_min_k4(block.scales, j);
    const Nibbles q(block.qs, j);
    const float scale = d * sub.scale;
    const float min = dmin * sub.min;
    for (int i = 0; i < 32; ++i) out[32 * j + i] = scale * q[i] - min;
  }
}

void decode_block(const BlockQ5_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin sub = scale_min_k4(block.scales, j);
    const Nibbles low(block.qs, j);
    const float scale = d * sub.scale;
    const float min = dmin * sub.min;
    for (int i = 0; i < 32; ++i) {
      const int q = low[i] | ((block.qh[i] >> j) & 1) << 4;
      out[32 * j + i] = scale * q - min;
    }
  }
}

void decode_block(const BlockQ6_K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int j = 0; j < 8; ++j) {
    const SixBits q(block, j);
    for (int i = 0; i < 32; ++i) {
      const float scale = d * block.scales[2 * j + i / 16];
      out[32 * j + i] = scale * (q[i] - 32);
    }
  }
}

void decode_block(const BlockQ8_K& block, float* out) {
  for (int i = 0; i < 256; ++i) out[i] = block.d * block.qs[i];
}

}  // namespace realm
