#include "cpu/panels/layout.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace realm::cpu {

namespace {

using enum SlabKind;

constexpr PanelLayout kLayouts[] = {
    {DType::kQ4_0, 8, 8, kFine32, Packed::kQ4_0, 2, {{0, 2, 2}, {2, 16, 4}}},
    {DType::kQ4_1, 8, 8, kFine32Min, Packed::kQ4_1, 3, {{0, 2, 2}, {2, 2, 2}, {4, 16, 4}}},
    {DType::kQ5_0,
     8,
     8,
     kFine32,
     Packed::kQ5_0,
     3,
     {{0, 2, 2}, {2, 4, 4, Move::kSpreadBits}, {6, 16, 4}}},
    {DType::kQ5_1,
     8,
     8,
     kFine32Min,
     Packed::kQ5_1,
     4,
     {{0, 2, 2}, {2, 2, 2}, {4, 4, 4, Move::kSpreadBits}, {8, 16, 4}}},
    {DType::kQ8_0, 8, 8, kFine32, Packed::kQ8_0, 2, {{0, 2, 2}, {2, 32, 4, Move::kFlipBytes}}},
    {DType::kIQ4_NL, 8, 8, kFine32, Packed::kIQ4_NL, 2, {{0, 2, 2}, {2, 16, 4}}},
    {DType::kMXFP4, 8, 8, kFine32, Packed::kMXFP4, 2, {{0, 1, 1}, {1, 16, 4}}},
    {DType::kQ2_K,
     1,
     1,
     kSuper16Min,
     Packed::kQ2_K,
     4,
     {{0, 16, 4}, {80, 2, 2}, {82, 2, 2}, {16, 64, 4}}},
    {DType::kQ3_K,
     2,
     1,
     kSuper16,
     Packed::kQ3_K,
     4,
     {{96, 12, 4}, {108, 2, 2}, {0, 32, 4}, {32, 64, 4}}},
    {DType::kQ4_K,
     1,
     1,
     kSuper32Min,
     Packed::kQ4_K,
     4,
     {{4, 12, 4}, {0, 2, 2}, {2, 2, 2}, {16, 128, 4}}},
    {DType::kQ5_K,
     1,
     1,
     kSuper32Min,
     Packed::kQ5_K,
     5,
     {{4, 12, 4}, {0, 2, 2}, {2, 2, 2}, {16, 32, 4}, {48, 128, 4}}},
    {DType::kQ6_K,
     2,
     1,
     kSuper16,
     Packed::kQ6_K,
     4,
     {{192, 16, 4}, {208, 2, 2}, {128, 64, 4}, {0, 128, 4}}},
    {DType::kIQ4_XS,
     1,
     1,
     kSuper32,
     Packed::kIQ4_XS,
     4,
     {{4, 4, 4}, {2, 2, 2}, {0, 2, 2}, {8, 128, 4}}},
    // Blocks whole, side by side.
    {DType::kQ8_K, 1, 1, kSuper32, {}, 1, {{0, 292, 292}}},
    {DType::kIQ2_XXS, 1, 1, kSuper32, {}, 1, {{0, 66, 66}}},
    {DType::kIQ2_XS, 1, 1, kSuper16, {}, 1, {{0, 74, 74}}},
    {DType::kIQ2_S, 1, 1, kSuper16, {}, 1, {{0, 82, 82}}},
    {DType::kIQ3_XXS, 1, 1, kSuper32, {}, 1, {{0, 98, 98}}},
    {DType::kIQ3_S, 1, 1, kSuper32, {}, 1, {{0, 110, 110}}},
    {DType::kIQ1_S, 1, 1, kSuper32, {}, 1, {{0, 50, 50}}},
    {DType::kIQ1_M, 1, 1, kSuper16, {}, 1, {{0, 56, 56}}},
    {DType::kTQ1_0, 1, 1, kSuper32, {}, 1, {{0, 54, 54}}},
    {DType::kTQ2_0, 1, 1, kSuper32, {}, 1, {{0, 66, 66}}},
    {DType::kNVFP4, 1, 4, kFine16, {}, 1, {{0, 36, 36}}},
};

constexpr PanelLayout kFloatLayouts[] = {
    {DType::kF16, 1, 256, {}, {}, 1, {{0, 2, 2}}},
    {DType::kBF16, 1, 256, {}, {}, 1, {{0, 2, 2}}},
    {DType::kF32, 1, 256, {}, {}, 1, {{0, 4, 4}}},
};

const PanelLayout* find_in(std::span<const PanelLayout> layouts, DType dtype) {
  const auto found = std::ranges::find(layouts, dtype, &PanelLayout::dtype);
  return found == layouts.end() ? nullptr : &*found;
}

uint32_t spread_bits(uint32_t x) {
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    uint32_t bits = x >> i & 0x11111111u;  // bit 4 t + i at 4 t
    bits = (bits | bits >> 3) & 0x03030303u;
    bits = (bits | bits >> 6) & 0x000f000fu;
    bits = (bits | bits >> 12) & 0x000000ffu;
    out |= bits << 8 * i;
  }
  return out;
}

uint32_t gather_bits(uint32_t x) {
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    for (int t = 0; t < 8; ++t) out |= (x >> (8 * i + t) & 1) << (4 * t + i);
  }
  return out;
}

uint32_t moved(Move move, uint32_t word) {
  if (move == Move::kFlipBytes) return word ^ 0x80808080u;
  return move == Move::kSpreadBits ? spread_bits(word) : word;
}

uint32_t moved_back(Move move, uint32_t word) {
  if (move == Move::kFlipBytes) return word ^ 0x80808080u;
  return move == Move::kSpreadBits ? gather_bits(word) : word;
}

int block_bytes(const PanelLayout& layout) {
  int bytes = 0;
  for (int f = 0; f < layout.n_fields; ++f) bytes += layout.fields[f].bytes;
  return bytes;
}

// The units of one field of `n` blocks, `stride` bytes apart, to every sixteenth place of `out`.
template <int kUnit>
void scatter(const std::byte* in, const Field& field, int64_t n, int stride, uint8_t* out) {
  for (int64_t b = 0; b < n; ++b, in += stride) {
    for (int at = 0; at < field.bytes; at += kUnit, out += kPanelRows * kUnit) {
      std::memcpy(out, in + at, kUnit);
    }
  }
}

void scatter(const std::byte* in, const Field& field, int64_t n, int stride, uint8_t* out) {
  if (field.unit == 1) return scatter<1>(in, field, n, stride, out);
  if (field.unit == 2) return scatter<2>(in, field, n, stride, out);
  if (field.unit == 4) return scatter<4>(in, field, n, stride, out);
  for (int64_t b = 0; b < n; ++b) {
    std::memcpy(out + b * kPanelRows * field.bytes, in + b * stride,
                static_cast<size_t>(field.bytes));
  }
}

void move_words(Move move, uint8_t* words, int64_t bytes) {
  if (move == Move::kAsIs) return;
  for (int64_t at = 0; at < bytes; at += 4) {
    uint32_t word;
    std::memcpy(&word, words + at, 4);
    word = moved(move, word);
    std::memcpy(words + at, &word, 4);
  }
}

}  // namespace

const PanelLayout* find_panel_layout(DType dtype) {
  return find_in(kLayouts, dtype);
}

const PanelLayout* find_float_layout(DType dtype) {
  return find_in(kFloatLayouts, dtype);
}

bool has_fine_activations(const PanelLayout& layout) {
  return layout.slab_kind == kFine32 || layout.slab_kind == kFine16 ||
         layout.slab_kind == kFine32Min;
}

int64_t panel_bytes(const PanelLayout& layout, int64_t n_blocks) {
  const int64_t bytes = kPanelRows * block_bytes(layout) * n_blocks;
  return (bytes + 63) / 64 * 64;
}

void pack(const PanelLayout& layout, const std::byte* const (&rows)[kPanelRows], int64_t n_blocks,
          uint8_t* out) {
  const int stride = block_bytes(layout);
  for (int64_t b = 0; b < n_blocks; b += layout.group) {
    const int64_t n = std::min<int64_t>(layout.group, n_blocks - b);
    for (int f = 0; f < layout.n_fields; ++f) {
      const Field& field = layout.fields[f];
      const int64_t bytes = kPanelRows * n * field.bytes;
      for (int row = 0; row < kPanelRows; ++row) {
        if (rows[row] == nullptr) continue;
        scatter(rows[row] + b * stride + field.offset, field, n, stride, out + row * field.unit);
      }
      move_words(field.move, out, bytes);
      out += bytes;
    }
  }
}

void unpack(const PanelLayout& layout, const uint8_t* panel, int64_t n_blocks, int row,
            int64_t first, int64_t n, std::byte* out) {
  const int stride = block_bytes(layout);
  for (int64_t b = first; b < first + n; ++b, out += stride) {
    const int64_t group = b / layout.group * layout.group;
    const int64_t together = std::min<int64_t>(layout.group, n_blocks - group);
    const uint8_t* base = panel + kPanelRows * stride * group;
    for (int f = 0; f < layout.n_fields; ++f) {
      const Field& field = layout.fields[f];
      const uint8_t* from = base + kPanelRows * (b - group) * field.bytes + row * field.unit;
      for (int at = 0; at < field.bytes; at += field.unit, from += kPanelRows * field.unit) {
        std::memcpy(out + field.offset + at, from, static_cast<size_t>(field.unit));
        if (field.move == Move::kAsIs) continue;
        uint32_t word;
        std::memcpy(&word, out + field.offset + at, 4);
        word = moved_back(field.move, word);
        std::memcpy(out + field.offset + at, &word, 4);
      }
      base += kPanelRows * together * field.bytes;
    }
  }
}

}  // namespace realm::cpu
