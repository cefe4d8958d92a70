#include "cpu/panels/fill_slab.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/codebooks.h"
#include "quant/unpack.h"

namespace realm::cpu {

namespace {

constexpr uint64_t kOnes = 0x0101010101010101;

// One row of a slab. Weights are put eight at a time, value k in byte k.
class SlabRow {
 public:
  SlabRow(Slab& slab, int row, SlabOrder order)
      : slab_(slab), row_(row), run_(order.run), flip_(kOnes * order.flip) {}

  void put8(int k, uint64_t weights) {
    weights ^= flip_;
    if (run_ == 8) {
      std::memcpy(&slab_.q[0][0] + 16 * k + 8 * row_, &weights, 8);
      return;
    }
    std::memcpy(slab_.q[k / 4] + 4 * row_, &weights, 4);
    weights >>= 32;
    std::memcpy(slab_.q[k / 4 + 1] + 4 * row_, &weights, 4);
  }
  void put8(int k, const int8_t* weights) {
    uint64_t word;
    std::memcpy(&word, weights, 8);
    put8(k, word);
  }
  void scale(int j, float value) { slab_.scale[j][row_] = value; }
  void scales(int n, float value) {
    for (int j = 0; j < n; ++j) scale(j, value);
  }
  void d(float value) { slab_.d[row_] = value; }

 private:
  Slab& slab_;
  int row_, run_;
  uint64_t flip_;
};

template <size_t N, class Value>
std::array<uint64_t, N> expand_grid(const uint16_t (&grid)[N], int bits, int n, Value value) {
  std::array<uint64_t, N> words{};
  for (size_t i = 0; i < N; ++i) {
    for (int k = 0; k < n; ++k) {
      const auto level = static_cast<uint32_t>(grid[i] >> (bits * k)) & ((1u << bits) - 1);
      words[i] |= static_cast<uint64_t>(static_cast<uint8_t>(value(level))) << (8 * k);
    }
  }
  return words;
}

template <size_t N>
std::array<uint64_t, N> expand_iq2(const uint16_t (&grid)[N]) {
  return expand_grid(grid, 2, 8, [](uint32_t level) { return kLevelsIQ2[level]; });
}

template <size_t N>
std::array<uint64_t, N> expand_iq1(const uint16_t (&grid)[N], int delta) {
  return expand_grid(grid, 2, 8,
                     [=](uint32_t level) { return 8 * (static_cast<int>(level) - 1) + delta; });
}

// Grids with a byte for each value, as the kernels want them; made when first used.
struct Grids {
  decltype(expand_iq2(kGridIQ2_XXS)) iq2_xxs = expand_iq2(kGridIQ2_XXS);
  decltype(expand_iq2(kGridIQ2_XS)) iq2_xs = expand_iq2(kGridIQ2_XS);
  decltype(expand_iq2(kGridIQ2_S)) iq2_s = expand_iq2(kGridIQ2_S);
  decltype(expand_iq1(kGridIQ1_S, 1)) iq1[2] = {expand_iq1(kGridIQ1_S, 1),
                                                expand_iq1(kGridIQ1_S, -1)};
  std::array<uint64_t, std::size(kGridIQ3_XXS)> iq3_xxs =
      expand_grid(kGridIQ3_XXS, 4, 4, [](uint32_t level) { return kLevelsIQ3_XXS[level & 7]; });
  std::array<uint64_t, std::size(kGridIQ3_S)> iq3_s =
      expand_grid(kGridIQ3_S, 4, 4, [](uint32_t level) { return 2 * (level & 7) + 1; });
  std::array<uint64_t, 256> signs{};  // byte k is 255 where bit k is set

  Grids() {
    for (size_t i = 0; i < 256; ++i) {
      for (int k = 0; k < 8; ++k) signs[i] |= (i >> k & 1 ? uint64_t{255} : 0) << (8 * k);
    }
  }
};

const Grids& grids() {
  static const Grids all;
  return all;
}

// Negates the bytes that `signs` names; they are all positive.
uint64_t negate(uint64_t magnitudes, uint8_t signs) {
  const uint64_t mask = grids().signs[signs];
  return (magnitudes ^ mask) + (mask & kOnes);
}

int nibble(const uint8_t* bytes, int i) {
  return bytes[i / 2] >> (4 * (i % 2)) & 15;
}

void fill(const BlockIQ2_XXS& block, SlabRow row) {
  row.d(f16_to_f32(block.d) * 0.125f);
  for (int j = 0; j < 8; ++j) {
    const uint16_t* words = block.qs + 4 * j;
    const uint32_t tail = words[2] | static_cast<uint32_t>(words[3]) << 16;
    row.scale(j, static_cast<float>(2 * (tail >> 28) + 1));
    for (int g = 0; g < 4; ++g) {
      const int index = words[g / 2] >> (8 * (g % 2)) & 255;
      row.put8(32 * j + 8 * g, negate(grids().iq2_xxs[static_cast<size_t>(index)],
                                      even_signs(tail >> (7 * g) & 127)));
    }
  }
}

void fill(const BlockIQ2_XS& block, SlabRow row) {
  row.d(f16_to_f32(block.d) * 0.125f);
  for (int j = 0; j < 16; ++j) row.scale(j, static_cast<float>(2 * nibble(block.scales, j) + 1));
  for (int g = 0; g < 32; ++g) {
    const uint16_t word = block.qs[g];
    row.put8(8 * g,
             negate(grids().iq2_xs[word & 511], even_signs(static_cast<uint32_t>(word) >> 9)));
  }
}

void fill(const BlockIQ2_S& block, SlabRow row) {
  row.d(f16_to_f32(block.d) * 0.125f);
  for (int j = 0; j < 16; ++j) row.scale(j, static_cast<float>(2 * nibble(block.scales, j) + 1));
  for (int g = 0; g < 32; ++g) {
    const int index = block.qs[g] | (block.qh[g / 4] >> (2 * (g % 4)) & 3) << 8;
    row.put8(8 * g, negate(grids().iq2_s[static_cast<size_t>(index)], block.qs[32 + g]));
  }
}

void fill(const BlockIQ3_XXS& block, SlabRow row) {
  row.d(f16_to_f32(block.d) * 0.25f);
  for (int g = 0; g < 32; ++g) {
    const uint32_t tail = little_u32(block.qs + 64 + 4 * (g / 4));
    if (g % 4 == 0) row.scale(g / 4, static_cast<float>(2 * (tail >> 28) + 1));
    const uint64_t both = grids().iq3_xxs[block.qs[2 * g]] | grids().iq3_xxs[block.qs[2 * g + 1]]
                                                                 << 32;
    row.put8(8 * g, negate(both, even_signs(tail >> (7 * (g % 4)) & 127)));
  }
}

void fill(const BlockIQ3_S& block, SlabRow row) {
  row.d(f16_to_f32(block.d));
  for (int j = 0; j < 8; ++j) row.scale(j, static_cast<float>(2 * nibble(block.scales, j) + 1));
  const auto half = [&](int h) {
    return grids().iq3_s[static_cast<size_t>(block.qs[h] | bit_at(block.qh, h) << 8)];
  };
  for (int g = 0; g < 32; ++g) {
    row.put8(8 * g, negate(half(2 * g) | half(2 * g + 1) << 32, block.signs[g]));
  }
}

// w = d / 8 * scale * (8 * grid +- 1)
void fill(const BlockIQ1_S& block, SlabRow row) {
  row.d(f16_to_f32(block.d) * 0.125f);
  for (int g = 0; g < 32; ++g) {
    const uint16_t word = block.qh[g / 4];
    row.scale(g / 4, static_cast<float>(2 * (word >> 12 & 7) + 1));
    const int index = block.qs[g] | (word >> (3 * (g % 4)) & 7) << 8;
    row.put8(8 * g, grids().iq1[word >> 15][static_cast<size_t>(index)]);
  }
}

void fill(const BlockIQ1_M& block, SlabRow row) {
  uint32_t d = 0;
  for (int j = 0; j < 4; ++j) d |= little_u16(block.scales + 2 * j) >> 12 << (4 * j);
  row.d(f16_to_f32(static_cast<uint16_t>(d)) * 0.125f);
  for (int g = 0; g < 32; ++g) {
    const int j = g / 2;
    const uint32_t scale = little_u16(block.scales + 2 * (j / 4)) >> (3 * (j % 4)) & 7;
    row.scale(j, static_cast<float>(2 * scale + 1));
    const int high = nibble(block.qh, g);
    const int index = block.qs[g] | (high & 7) << 8;
    row.put8(8 * g, grids().iq1[high >> 3][static_cast<size_t>(index)]);
  }
}

int ternary_digit(uint8_t byte, int n) {
  constexpr uint8_t kPowersOf3[5] = {1, 3, 9, 27, 81};
  return static_cast<uint8_t>(byte * kPowersOf3[n]) * 3 >> 8;
}

void fill(const BlockTQ1_0& block, SlabRow row) {
  row.d(f16_to_f32(block.d));
  row.scales(8, 1);
  int8_t w[256];
  int8_t* out = w;
  const auto put = [&](const uint8_t* bytes, int n_bytes, int n_digits) {
    for (int n = 0; n < n_digits; ++n) {
      for (int i = 0; i < n_bytes; ++i)
        *out++ = static_cast<int8_t>(ternary_digit(bytes[i], n) - 1);
    }
  };
  put(block.qs, 32, 5);
  put(block.qs + 32, 16, 5);
  put(block.qh, 4, 4);
  for (int k = 0; k < 256; k += 8) row.put8(k, w + k);
}

void fill(const BlockTQ2_0& block, SlabRow row) {
  row.d(f16_to_f32(block.d));
  row.scales(8, 1);
  int8_t w[256];
  for (int k = 0; k < 256; ++k) w[k] = static_cast<int8_t>(crumb_at(block.qs, k) - 1);
  for (int k = 0; k < 256; k += 8) row.put8(k, w + k);
}

void fill(const BlockQ8_K& block, SlabRow row) {
  row.d(block.d);
  row.scales(8, 1);
  for (int k = 0; k < 256; k += 8) row.put8(k, block.qs + k);
}

// Half the scale, since levels are doubled; see quant/decode_fp4_ternary.cpp.
float half_of_ue4m3(uint8_t x) {
  if (x == 0x7f) return 0;
  const int exponent = x >> 3 & 15, mantissa = x & 7;
  if (exponent == 0) return std::ldexp(static_cast<float>(mantissa), -10);
  return std::ldexp(static_cast<float>(8 + mantissa), exponent - 11);
}

// One of the four blocks of 64 values.
void fill(const BlockNVFP4& block, int part, SlabRow row) {
  int8_t w[16];
  for (int j = 0; j < 4; ++j) {
    row.scale(4 * part + j, half_of_ue4m3(block.d[j]));
    for (int i = 0; i < 16; ++i) w[i] = kLevelsE2M1x2[nibble_at(block.qs + 8 * j, 8, i)];
    row.put8(64 * part + 16 * j, w);
    row.put8(64 * part + 16 * j + 8, w + 8);
  }
}

template <class Block>
void fill_super(const std::byte* bytes, SlabRow row) {
  Block block;
  std::memcpy(&block, bytes, sizeof block);
  fill(block, row);
}

void fill_row(DType dtype, const std::byte* bytes, int n_blocks, int64_t stride, SlabRow row) {
  switch (dtype) {
    case DType::kIQ2_XXS:
      return fill_super<BlockIQ2_XXS>(bytes, row);
    case DType::kIQ2_XS:
      return fill_super<BlockIQ2_XS>(bytes, row);
    case DType::kIQ2_S:
      return fill_super<BlockIQ2_S>(bytes, row);
    case DType::kIQ3_XXS:
      return fill_super<BlockIQ3_XXS>(bytes, row);
    case DType::kIQ3_S:
      return fill_super<BlockIQ3_S>(bytes, row);
    case DType::kIQ1_S:
      return fill_super<BlockIQ1_S>(bytes, row);
    case DType::kIQ1_M:
      return fill_super<BlockIQ1_M>(bytes, row);
    case DType::kTQ1_0:
      return fill_super<BlockTQ1_0>(bytes, row);
    case DType::kTQ2_0:
      return fill_super<BlockTQ2_0>(bytes, row);
    case DType::kQ8_K:
      return fill_super<BlockQ8_K>(bytes, row);
    case DType::kNVFP4:
      for (int part = 0; part < n_blocks; ++part) {
        BlockNVFP4 block;
        std::memcpy(&block, bytes + part * stride, sizeof block);
        fill(block, part, row);
      }
      return;
    default:
      fail(ErrorCode::kInternal, "no slab is filled from format ", static_cast<int>(dtype));
  }
}

}  // namespace

void fill_slab(DType dtype, const std::byte* const (&rows)[kPanelRows], int n_blocks,
               int64_t stride, SlabOrder order, Slab& out) {
  for (int row = 0; row < kPanelRows; ++row) {
    if (rows[row]) fill_row(dtype, rows[row], n_blocks, stride, SlabRow(out, row, order));
  }
}

}  // namespace realm::cpu
