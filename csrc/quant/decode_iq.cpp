// Reference decoders of the codebook formats. IQ1 to IQ3 store 4 or 8 values as the index of a grid
// entry (quant/codebooks.h) and, but for IQ1, a set of signs; IQ4 looks up each value. A
// sub-block's scale is rounded to float before it meets the grid's integers.
#include "base/half.h"
#include "quant/codebooks.h"
#include "quant/decoders.h"
#include "quant/unpack.h"

namespace realm {

namespace {

float signed_by(uint32_t signs, int k, float value) {
  return (signs >> k) & 1 ? -value : value;
}

// The eight values of an entry of the IQ2 grids; bit k of `signs` negates value k.
void put_iq2(float scale, uint16_t entry, uint32_t signs, float* out) {
  for (int k = 0; k < 8; ++k) {
    out[k] = signed_by(signs, k, scale * kLevelsIQ2[(entry >> (2 * k)) & 3]);
  }
}

// The four values of an entry of an IQ3 grid.
void put_iq3_xxs(float scale, uint16_t entry, uint32_t signs, float* out) {
  for (int k = 0; k < 4; ++k) {
    out[k] = signed_by(signs, k, scale * kLevelsIQ3_XXS[(entry >> (4 * k)) & 7]);
  }
}

void put_iq3_s(float scale, uint16_t entry, uint32_t signs, float* out) {
  for (int k = 0; k < 4; ++k) {
    const int level = (entry >> (4 * k)) & 7;
    out[k] = signed_by(signs, k, scale * (2 * level + 1));
  }
}

// The eight values -1, 0 or 1 of an entry of the IQ1 grid, all moved by delta = 1/8 up or down.
void put_iq1(float scale, uint16_t entry, bool delta_is_negative, float* out) {
  const float delta = delta_is_negative ? -0.125f : 0.125f;
  for (int k = 0; k < 8; ++k) {
    const int value = ((entry >> (2 * k)) & 3) - 1;
    out[k] = scale * (value + delta);
  }
}

// Nibble j of `scales` is the scale of sub-block j.
int scale_nibble(const uint8_t* scales, int j) {
  return (scales[j / 2] >> (4 * (j % 2))) & 15;
}

// The scale of the IQ2 formats: d * (q + 1/2) / 4.
float iq2_scale(float d, uint32_t q) {
  return d * (0.5f + q) * 0.25f;
}

// The float scale of IQ1_M from the top nibbles of its four scale words, lowest first.
float iq1_m_d(const uint8_t* scales) {
  uint32_t bits = 0;
  for (int j = 0; j < 4; ++j) bits |= little_u16(scales + 2 * j) >> 12 << (4 * j);
  return f16_to_f32(static_cast<uint16_t>(bits));
}

}  // namespace

void decode_block(const BlockIQ2_XXS& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int g = 0; g < 32; ++g) {  // groups of 8; four of them share four words
    const uint16_t* words = block.qs + 4 * (g / 4);
    const uint32_t signs_and_scale = words[2] | static_cast<uint32_t>(words[3]) << 16;
    const int index = (words[(g % 4) / 2] >> (8 * (g % 2))) & 255;
    const uint8_t signs = even_signs((signs_and_scale >> (7 * (g % 4))) & 127);
    put_iq2(iq2_scale(d, signs_and_scale >> 28), kGridIQ2_XXS[index], signs, out + 8 * g);
  }
}

void decode_block(const BlockIQ2_XS& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int g = 0; g < 32; ++g) {
    const float scale = iq2_scale(d, scale_nibble(block.scales, g / 2));
    const uint16_t word = block.qs[g];
    put_iq2(scale, kGridIQ2_XS[word & 511], even_signs(word >> 9), out + 8 * g);
  }
}

void decode_block(const BlockIQ2_S& block, float* out) {
  const float d = f16_to_f32(block.d);
  const uint8_t* signs = block.qs + 32;
  for (int g = 0; g < 32; ++g) {
    const float scale = iq2_scale(d, scale_nibble(block.scales, g / 2));
    const int high = (block.qh[g / 4] >> (2 * (g % 4))) & 3;
    put_iq2(scale, kGridIQ2_S[block.qs[g] | high << 8], signs[g], out + 8 * g);
  }
}

void decode_block(const BlockIQ3_XXS& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int g = 0; g < 32; ++g) {  // groups of 8, two entries each
    const uint32_t signs_and_scale = little_u32(block.qs + 64 + 4 * (g / 4));
    const float scale = d * (0.5f + (signs_and_scale >> 28)) * 0.5f;
    const uint8_t signs = even_signs((signs_and_scale >> (7 * (g % 4))) & 127);
    put_iq3_xxs(scale, kGridIQ3_XXS[block.qs[2 * g]], signs, out + 8 * g);
    put_iq3_xxs(scale, kGridIQ3_XXS[block.qs[2 * g + 1]], signs >> 4, out + 8 * g + 4);
  }
}

void decode_block(const BlockIQ3_S& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int h = 0; h < 64; ++h) {  // groups of 4
    const float scale = d * (1 + 2 * scale_nibble(block.scales, h / 8));
    const int index = block.qs[h] | bit_at(block.qh, h) << 8;
    put_iq3_s(scale, kGridIQ3_S[index], block.signs[h / 2] >> (4 * (h % 2)), out + 4 * h);
  }
}

void decode_block(const BlockIQ1_S& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int g = 0; g < 32; ++g) {  // groups of 8; four of them share a word of qh
    const uint16_t word = block.qh[g / 4];
    const float scale = d * (2 * ((word >> 12) & 7) + 1);
    const int index = block.qs[g] | ((word >> (3 * (g % 4))) & 7) << 8;
    put_iq1(scale, kGridIQ1_S[index], word >> 15, out + 8 * g);
  }
}

void decode_block(const BlockIQ1_M& block, float* out) {
  const float d = iq1_m_d(block.scales);
  for (int g = 0; g < 32; ++g) {  // groups of 8; two of them share a scale
    const int j = g / 2;
    const uint32_t scale_bits = little_u16(block.scales + 2 * (j / 4)) >> (3 * (j % 4)) & 7;
    const int high = scale_nibble(block.qh, g);
    const int index = block.qs[g] | (high & 7) << 8;
    put_iq1(d * (2 * scale_bits + 1), kGridIQ1_S[index], high & 8, out + 8 * g);
  }
}

void decode_block(const BlockIQ4_NL& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 32; ++i) out[i] = d * kLevelsIQ4[nibble_at(block.qs, 16, i)];
}

void decode_block(const BlockIQ4_XS& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 256; ++i) {
    const int j = i / 32;
    const int high = (block.scales_h >> (2 * j)) & 3;
    const float scale = d * ((scale_nibble(block.scales_l, j) | high << 4) - 32);
    out[i] = scale * kLevelsIQ4[nibble_at(block.qs + 16 * j, 16, i % 32)];
  }
}

}  // namespace realm
