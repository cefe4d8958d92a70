#include "cuda/pack_weight.h"

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/formats.h"
#include "quant/unpack.h"

namespace realm::cuda {

namespace {

constexpr size_t kPlaneAlignment = 256;
constexpr int64_t kFloatRun = 8;  // values: rows of float packings are padded to it

// Where a block's pieces go: one pointer per plane, moved on by each block.
struct Planes {
  uint8_t *quants, *high, *scales, *steps;
};

// Bytes of each plane that a block fills.
struct BlockPieces {
  size_t quants = 0, high = 0, scales = 0, steps = 0;
};

template <class Bytes>
void put(uint8_t*& plane, const Bytes& bytes, size_t n) {
  std::memcpy(plane, &bytes, n);
  plane += n;
}

// 32 values of up to four bits each, 16 apart in a byte.
template <class NibbleAt>
void put_group(uint8_t*& plane, NibbleAt at) {
  for (int i = 0; i < 16; ++i) *plane++ = static_cast<uint8_t>(at(i) | at(i + 16) << 4);
}

// The eight groups of a superblock whose nibbles come in pairs of runs of `run` bytes.
void put_super_nibbles(uint8_t*& plane, const uint8_t* qs, int run) {
  for (int first = 0; first < 256; first += 32) {
    put_group(plane, [&](int i) {
      const int v = first + i;
      return nibble_at(qs + v / (2 * run) * run, run, v % (2 * run));
    });
  }
}

BlockPieces pieces_of(const BlockQ4_0*) {
  return {16, 0, 2, 0};
}
void put_block(const BlockQ4_0& b, Planes& p) {
  put(p.quants, b.qs, 16);
  put(p.scales, b.d, 2);
}

BlockPieces pieces_of(const BlockIQ4_NL*) {
  return {16, 0, 2, 0};
}
void put_block(const BlockIQ4_NL& b, Planes& p) {
  put(p.quants, b.qs, 16);
  put(p.scales, b.d, 2);
}

BlockPieces pieces_of(const BlockQ8_0*) {
  return {32, 0, 2, 0};
}
void put_block(const BlockQ8_0& b, Planes& p) {
  put(p.quants, b.qs, 32);
  put(p.scales, b.d, 2);
}

BlockPieces pieces_of(const BlockQ4_K*) {
  return {128, 0, 16, 0};
}
void put_block(const BlockQ4_K& b, Planes& p) {
  put_super_nibbles(p.quants, b.qs, 32);
  put(p.scales, b, 16);  // d, dmin and scales stand first in the block
}

BlockPieces pieces_of(const BlockQ5_K*) {
  return {128, 32, 16, 0};
}
void put_block(const BlockQ5_K& b, Planes& p) {
  put_super_nibbles(p.quants, b.qs, 32);
  put(p.scales, b, 16);
  for (int group = 0; group < 8; ++group) {
    uint32_t bits = 0;
    for (int i = 0; i < 32; ++i)
      bits |= static_cast<uint32_t>(plane_bit_at(b.qh, 32 * group + i)) << i;
    put(p.high, bits, 4);
  }
}

BlockPieces pieces_of(const BlockQ6_K*) {
  return {128, 64, 16, 2};
}
void put_block(const BlockQ6_K& b, Planes& p) {
  put_super_nibbles(p.quants, b.ql, 64);
  for (int i = 0; i < 256; i += 4) {
    int pairs = 0;
    for (int k = 0; k < 4; ++k) pairs |= crumb_at(b.qh, i + k) << (2 * k);
    *p.high++ = static_cast<uint8_t>(pairs);
  }
  put(p.scales, b.scales, 16);
  put(p.steps, b.d, 2);
}

BlockPieces pieces_of(const BlockIQ4_XS*) {
  return {128, 0, 8, 0};
}
void put_block(const BlockIQ4_XS& b, Planes& p) {
  put(p.quants, b.qs, 128);
  put(p.scales, b, 8);  // d, scales_h and scales_l stand first
}

size_t plane_end(size_t bytes) {
  return (bytes + kPlaneAlignment - 1) / kPlaneAlignment * kPlaneAlignment;
}

template <class Block>
PackedBytes pack_blocks(const WeightBytes& weight, Packing packing) {
  const size_t n = weight.bytes.size() / sizeof(Block);
  const BlockPieces piece = pieces_of(static_cast<const Block*>(nullptr));
  PackedBytes packed{packing, {}, 0, 0, 0, weight.cols};
  packed.high = plane_end(n * piece.quants);
  packed.scales = packed.high + plane_end(n * piece.high);
  packed.steps = packed.scales + plane_end(n * piece.scales);
  packed.bytes.resize(packed.steps + plane_end(n * piece.steps));
  auto* base = reinterpret_cast<uint8_t*>(packed.bytes.data());
  Planes planes{base, base + packed.high, base + packed.scales, base + packed.steps};
  for (size_t i = 0; i < n; ++i) {
    Block block;  // a copy: files give no alignment
    std::memcpy(&block, weight.bytes.data() + i * sizeof(Block), sizeof block);
    put_block(block, planes);
  }
  return packed;
}

int64_t padded_stride(int64_t cols) {
  return (cols + kFloatRun - 1) / kFloatRun * kFloatRun;
}

// Rows of plain values, each padded with zeros.
PackedBytes pad_rows(const std::byte* values, size_t element_bytes, Packing packing, int64_t rows,
                     int64_t cols) {
  PackedBytes packed{packing, {}, 0, 0, 0, padded_stride(cols)};
  const auto row_bytes = static_cast<size_t>(cols) * element_bytes;
  const auto stride_bytes = static_cast<size_t>(packed.stride) * element_bytes;
  packed.bytes.resize(static_cast<size_t>(rows) * stride_bytes);
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row)
    std::memcpy(packed.bytes.data() + row * stride_bytes, values + row * row_bytes, row_bytes);
  return packed;
}

// Formats without a packing: halves if every value fits one and floats are not asked for.
PackedBytes decode_all(const WeightBytes& weight, bool as_floats) {
  const auto n = static_cast<size_t>(weight.rows * weight.cols);
  std::vector<float> values(n);
  decode(format_of(weight.dtype), weight.bytes.data(), values.data(), n);
  bool fits = !as_floats && weight.dtype != DType::kF64;
  for (const float value : values) fits = fits && !(std::abs(value) > 65504.0f);
  if (!fits) {
    return pad_rows(reinterpret_cast<const std::byte*>(values.data()), 4, Packing::kF32,
                    weight.rows, weight.cols);
  }
  std::vector<uint16_t> halves(n);
  for (size_t i = 0; i < n; ++i) halves[i] = f32_to_f16(values[i]);
  return pad_rows(reinterpret_cast<const std::byte*>(halves.data()), 2, Packing::kF16, weight.rows,
                  weight.cols);
}

}  // namespace

PackedWeight PackedBytes::at(const std::byte* base, int64_t n_cols) const {
  const auto* bytes_at = reinterpret_cast<const uint8_t*>(base);
  return {packing, bytes_at, bytes_at + high, bytes_at + scales, bytes_at + steps, n_cols, stride};
}

PackedBytes pack_weight(const WeightBytes& weight, ActivationKind activations) {
  if (weight.dtype == DType::kF32)
    return pad_rows(weight.bytes.data(), 4, Packing::kF32, weight.rows, weight.cols);
  if (activations == ActivationKind::kF32) return decode_all(weight, true);
  switch (weight.dtype) {
    case DType::kF16:
      return pad_rows(weight.bytes.data(), 2, Packing::kF16, weight.rows, weight.cols);
    case DType::kBF16:
      return pad_rows(weight.bytes.data(), 2, Packing::kBF16, weight.rows, weight.cols);
    case DType::kQ4_0:
      return pack_blocks<BlockQ4_0>(weight, Packing::kQ4_0);
    case DType::kQ8_0:
      return pack_blocks<BlockQ8_0>(weight, Packing::kQ8_0);
    case DType::kQ4_K:
      return pack_blocks<BlockQ4_K>(weight, Packing::kQ4_K);
    case DType::kQ5_K:
      return pack_blocks<BlockQ5_K>(weight, Packing::kQ5_K);
    case DType::kQ6_K:
      return pack_blocks<BlockQ6_K>(weight, Packing::kQ6_K);
    case DType::kIQ4_NL:
      return pack_blocks<BlockIQ4_NL>(weight, Packing::kIQ4_NL);
    case DType::kIQ4_XS:
      return pack_blocks<BlockIQ4_XS>(weight, Packing::kIQ4_XS);
    default:
      return decode_all(weight, false);
  }
}

}  // namespace realm::cuda
