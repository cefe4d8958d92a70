// Reference decoders of the formats with one scale for 32 values: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
// Layouts are in quant/blocks.h. Formats named _1 add a minimum after the product has been rounded.
#include "base/half.h"
#include "quant/decoders.h"
#include "quant/unpack.h"

namespace realm {

namespace {

// Quant i of Q5_0 and Q5_1, 0 .. 31.
template <class Block>
int five_bits_at(const Block& block, int i) {
  return nibble_at(block.qs, 16, i) | bit_at(block.qh, i) << 4;
}

}  // namespace

void decode_block(const BlockQ4_0& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 32; ++i) out[i] = d * (nibble_at(block.qs, 16, i) - 8);
}

void decode_block(const BlockQ4_1& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float m = f16_to_f32(block.m);
  for (int i = 0; i < 32; ++i) out[i] = d * nibble_at(block.qs, 16, i) + m;
}

void decode_block(const BlockQ5_0& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 32; ++i) out[i] = d * (five_bits_at(block, i) - 16);
}

void decode_block(const BlockQ5_1& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float m = f16_to_f32(block.m);
  for (int i = 0; i < 32; ++i) out[i] = d * five_bits_at(block, i) + m;
}

void decode_block(const BlockQ8_0& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (int i = 0; i < 32; ++i) out[i] = d * block.qs[i];
}

}  // namespace realm
