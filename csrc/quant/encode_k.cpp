// Encoders of the K formats. The search for scales is in encode_scale.h (Q3_K, Q6_K) and
// encode_scale_min.h (Q2_K, Q4_K, Q5_K); here are what differs between the formats: grids, limits
// and packing.
//
// A superblock too large for a half scale saturates: its largest values come out smaller, never
// infinite.
#include <iterator>

#include "quant/blocks.h"
#include "quant/encode_block.h"
#include "quant/encode_scale.h"
#include "quant/encode_scale_min.h"
#include "quant/encoders.h"

namespace realm {

namespace {

using namespace search;

// Quants, from 0 for grid.lo, of kCount values under scale * q - min.
template <int kCount>
void quantize(const UniformGrid& grid, const float* x, float scale, float min, uint8_t* q) {
  const float inverse = inverse_or_zero(scale);
  for (int i = 0; i < kCount; ++i) {
    q[i] = static_cast<uint8_t>(static_cast<int>(grid.nearest((x[i] + min) * inverse) - grid.lo));
  }
}

// ---- a scale only ----

constexpr int kSubs16 = 16;

struct ScaleBlock {
  ScaleCode<kSubs16> code;
  uint8_t q[kSuperBlock];
};

ScaleBlock encode_scales(const SymmetricGrid& grid, const float* x, int lowest, int highest) {
  float values[kSuperBlock];
  copy_within_reach(x, 1, values);
  ScaleBlock block;
  block.code = search_scales<kSubs16>(grid, values, lowest, highest);
  for (size_t j = 0; j < kSubs16; ++j) {
    const float scale = block.code.d * static_cast<float>(block.code.scale[j]);
    quantize<16>(grid, values + 16 * j, scale, 0, block.q + 16 * j);
  }
  return block;
}

void encode_block(const float* x, BlockQ3_K& block) {
  constexpr SymmetricGrid kGrid(-4, 3);
  const auto [code, q] = encode_scales(kGrid, x, -32, 31);
  block.d = f32_to_f16(code.d);
  pack_scales_k3(code.scale.data(), block.scales);
  pack_crumbs(q, block.qs);
  pack_plane_bits(q, 2, block.hmask);
}

void encode_block(const float* x, BlockQ6_K& block) {
  constexpr SymmetricGrid kGrid(-32, 31);
  const auto [code, q] = encode_scales(kGrid, x, -128, 127);
  block.d = f32_to_f16(code.d);
  for (size_t j = 0; j < kSubs16; ++j) block.scales[j] = static_cast<int8_t>(code.scale[j]);
  for (int run = 0; run < 2; ++run) pack_nibbles(q + 128 * run, 64, block.ql + 64 * run);
  uint8_t high[kSuperBlock];
  for (int i = 0; i < kSuperBlock; ++i) high[i] = q[i] >> 4;
  pack_crumbs(high, block.qh);
}

// ---- a scale and a minimum ----

template <int kSubs>
struct ScaleMinBlock {
  ScaleMinCode<kSubs> code;
  uint8_t q[kSuperBlock];
};

// Encodes sign * x and folds the sign into d and dmin.
template <int kSubs>
ScaleMinBlock<kSubs> encode_signed(const UniformGrid& grid, const float* x, float sign,
                                   int highest) {
  constexpr int kSub = kSuperBlock / kSubs;
  float values[kSuperBlock];
  copy_within_reach(x, sign, values);
  ScaleMinBlock<kSubs> block;
  ScaleMinCode<kSubs>& code = block.code;
  code = search_scale_mins<kSubs>(grid, values, highest);
  for (size_t j = 0; j < kSubs; ++j) {
    quantize<kSub>(grid, values + kSub * j, code.d * static_cast<float>(code.scale[j]),
                   code.dmin * static_cast<float>(code.min[j]), block.q + kSub * j);
  }
  code.d *= sign;
  code.dmin *= sign;
  return block;
}

// With dmin >= 0 no sub-block can start above 0, which wastes quants on superblocks far on the
// positive side. Their mirror image has no such trouble, and its d and dmin are simply the negative
// halves. Which image is better depends on the distance from 0, so superblocks of one sign try
// both.
template <int kSubs>
ScaleMinBlock<kSubs> encode_scale_mins(const UniformGrid& grid, const float* x, int highest) {
  const auto [min, max] = extremes<kSuperBlock>(x);
  const auto upright = encode_signed<kSubs>(grid, x, 1, highest);
  if (min <= 0 && max >= 0) return upright;
  const auto mirrored = encode_signed<kSubs>(grid, x, -1, highest);
  return mirrored.code.error < upright.code.error ? mirrored : upright;
}

void encode_block(const float* x, BlockQ2_K& block) {
  const auto [code, q] = encode_scale_mins<16>(UniformGrid{0, 3}, x, 15);
  block.d = f32_to_f16(code.d);
  block.dmin = f32_to_f16(code.dmin);
  for (size_t j = 0; j < std::size(block.scales); ++j) {
    block.scales[j] = static_cast<uint8_t>(code.scale[j] | code.min[j] << 4);
  }
  pack_crumbs(q, block.qs);
}

void encode_block(const float* x, BlockQ4_K& block) {
  const auto [code, q] = encode_scale_mins<8>(UniformGrid{0, 15}, x, 63);
  block.d = f32_to_f16(code.d);
  block.dmin = f32_to_f16(code.dmin);
  pack_scale_mins_k4(code.scale.data(), code.min.data(), block.scales);
  for (int run = 0; run < 4; ++run) pack_nibbles(q + 64 * run, 32, block.qs + 32 * run);
}

void encode_block(const float* x, BlockQ5_K& block) {
  const auto [code, q] = encode_scale_mins<8>(UniformGrid{0, 31}, x, 63);
  block.d = f32_to_f16(code.d);
  block.dmin = f32_to_f16(code.dmin);
  pack_scale_mins_k4(code.scale.data(), code.min.data(), block.scales);
  for (int run = 0; run < 4; ++run) pack_nibbles(q + 64 * run, 32, block.qs + 32 * run);
  pack_plane_bits(q, 4, block.qh);
}

}  // namespace

void encode_q2_k(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kSuperBlock, BlockQ2_K>(in, blocks, n_blocks, encode_block);
}

void encode_q3_k(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kSuperBlock, BlockQ3_K>(in, blocks, n_blocks, encode_block);
}

void encode_q4_k(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kSuperBlock, BlockQ4_K>(in, blocks, n_blocks, encode_block);
}

void encode_q5_k(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kSuperBlock, BlockQ5_K>(in, blocks, n_blocks, encode_block);
}

void encode_q6_k(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_each<kSuperBlock, BlockQ6_K>(in, blocks, n_blocks, encode_block);
}

}  // namespace realm
