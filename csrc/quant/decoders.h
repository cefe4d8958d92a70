// The reference decoders, one per weight format: the oracle of every fast kernel. Each writes the
// values of one block in the order the tensor has them, bit-equal to the `gguf` package; the order
// of the float operations is part of that contract, so do not regroup them. Pure; the table in
// quant/formats.cpp walks rows of blocks and is the only caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/blocks.h"

namespace realm {

// 32 values.
void decode_block(const BlockQ4_0& block, float* out);
void decode_block(const BlockQ4_1& block, float* out);
void decode_block(const BlockQ5_0& block, float* out);
void decode_block(const BlockQ5_1& block, float* out);
void decode_block(const BlockQ8_0& block, float* out);
void decode_block(const BlockIQ4_NL& block, float* out);
void decode_block(const BlockMXFP4& block, float* out);

// 64 values.
void decode_block(const BlockNVFP4& block, float* out);

// 256 values.
void decode_block(const BlockQ2_K& block, float* out);
void decode_block(const BlockQ3_K& block, float* out);
void decode_block(const BlockQ4_K& block, float* out);
void decode_block(const BlockQ5_K& block, float* out);
void decode_block(const BlockQ6_K& block, float* out);
void decode_block(const BlockQ8_K& block, float* out);
void decode_block(const BlockIQ1_S& block, float* out);
void decode_block(const BlockIQ1_M& block, float* out);
void decode_block(const BlockIQ2_XXS& block, float* out);
void decode_block(const BlockIQ2_XS& block, float* out);
void decode_block(const BlockIQ2_S& block, float* out);
void decode_block(const BlockIQ3_XXS& block, float* out);
void decode_block(const BlockIQ3_S& block, float* out);
void decode_block(const BlockIQ4_XS& block, float* out);
void decode_block(const BlockTQ1_0& block, float* out);
void decode_block(const BlockTQ2_0& block, float* out);

// Formats without blocks: `n` values, with the type of DecodeBlocks.
void decode_f32(const std::byte* values, float* out, uint64_t n);
void decode_f64(const std::byte* values, float* out, uint64_t n);
void decode_f16(const std::byte* values, float* out, uint64_t n);
void decode_bf16(const std::byte* values, float* out, uint64_t n);

}  // namespace realm
