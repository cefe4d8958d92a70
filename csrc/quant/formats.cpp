#include "quant/formats.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/text.h"
#include "quant/decoders.h"
#include "quant/encoders.h"

namespace realm {

namespace {

constexpr float kLargestHalf = 65504.0f;

template <class Block, uint32_t kElements>
void decode_blocks(const std::byte* blocks, float* out, uint64_t n_blocks) {
  for (uint64_t i = 0; i < n_blocks; ++i) {
    Block block;
    std::memcpy(&block, blocks + i * sizeof block, sizeof block);
    decode_block(block, out + i * kElements);
  }
}

// A row whose size comes from its struct, so that the two cannot disagree.
template <class Block, uint32_t kElements>
constexpr Format row(DType dtype, const char* name, EncodeBlocks encode) {
  return {dtype, name, kElements, sizeof(Block), decode_blocks<Block, kElements>, encode};
}

constexpr Format kFormats[] = {
    {DType::kF32, "F32", 1, 4, decode_f32, encode_f32},
    {DType::kF16, "F16", 1, 2, decode_f16, encode_f16},
    row<BlockQ4_0, 32>(DType::kQ4_0, "Q4_0", encode_q4_0),
    row<BlockQ4_1, 32>(DType::kQ4_1, "Q4_1", encode_q4_1),
    row<BlockQ5_0, 32>(DType::kQ5_0, "Q5_0", encode_q5_0),
    row<BlockQ5_1, 32>(DType::kQ5_1, "Q5_1", encode_q5_1),
    row<BlockQ8_0, 32>(DType::kQ8_0, "Q8_0", encode_q8_0),
    row<BlockQ2_K, 256>(DType::kQ2_K, "Q2_K", encode_q2_k),
    row<BlockQ3_K, 256>(DType::kQ3_K, "Q3_K", encode_q3_k),
    row<BlockQ4_K, 256>(DType::kQ4_K, "Q4_K", encode_q4_k),
    row<BlockQ5_K, 256>(DType::kQ5_K, "Q5_K", encode_q5_k),
    row<BlockQ6_K, 256>(DType::kQ6_K, "Q6_K", encode_q6_k),
    row<BlockQ8_K, 256>(DType::kQ8_K, "Q8_K", nullptr),
    row<BlockIQ2_XXS, 256>(DType::kIQ2_XXS, "IQ2_XXS", nullptr),
    row<BlockIQ2_XS, 256>(DType::kIQ2_XS, "IQ2_XS", nullptr),
    row<BlockIQ3_XXS, 256>(DType::kIQ3_XXS, "IQ3_XXS", nullptr),
    row<BlockIQ1_S, 256>(DType::kIQ1_S, "IQ1_S", nullptr),
    row<BlockIQ4_NL, 32>(DType::kIQ4_NL, "IQ4_NL", encode_iq4_nl),
    row<BlockIQ3_S, 256>(DType::kIQ3_S, "IQ3_S", nullptr),
    row<BlockIQ2_S, 256>(DType::kIQ2_S, "IQ2_S", nullptr),
    row<BlockIQ4_XS, 256>(DType::kIQ4_XS, "IQ4_XS", encode_iq4_xs),
    {DType::kF64, "F64", 1, 8, decode_f64, encode_f64},
    row<BlockIQ1_M, 256>(DType::kIQ1_M, "IQ1_M", nullptr),
    {DType::kBF16, "BF16", 1, 2, decode_bf16, encode_bf16},
    row<BlockTQ1_0, 256>(DType::kTQ1_0, "TQ1_0", nullptr),
    row<BlockTQ2_0, 256>(DType::kTQ2_0, "TQ2_0", nullptr),
    row<BlockMXFP4, 32>(DType::kMXFP4, "MXFP4", nullptr),
    row<BlockNVFP4, 64>(DType::kNVFP4, "NVFP4", nullptr),
};

char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return ascii_lower(x) == ascii_lower(y); });
}

uint64_t whole_blocks(const Format& format, uint64_t elements) {
  REALM_CHECK(elements % format.block_elements == 0, format.name, " has blocks of ",
              format.block_elements, " values; ", elements, " values do not fill whole ones");
  return elements / format.block_elements;
}

}  // namespace

std::span<const Format> all_formats() {
  return kFormats;
}

const Format* find_format(uint32_t id) {
  for (const Format& format : kFormats) {
    if (static_cast<uint32_t>(format.dtype) == id) return &format;
  }
  return nullptr;
}

const Format* find_format(std::string_view name) {
  for (const Format& format : kFormats) {
    if (same_ignoring_case(format.name, name)) return &format;
  }
  return nullptr;
}

const Format& format_of(DType dtype) {
  const Format* format = find_format(static_cast<uint32_t>(dtype));
  if (format == nullptr) {
    fail(ErrorCode::kInternal, "no weight format has id ", static_cast<uint32_t>(dtype));
  }
  return *format;
}

std::optional<uint64_t> encoded_bytes(const Format& format, uint64_t elements) {
  if (elements % format.block_elements != 0) return std::nullopt;
  return checked_mul(elements / format.block_elements, format.block_bytes);
}

std::optional<uint64_t> tensor_bytes(const Format& format, const Shape& shape) {
  if (shape.row_elements() % format.block_elements != 0) return std::nullopt;
  return encoded_bytes(format, shape.elements());
}

void decode(const Format& format, const std::byte* blocks, float* out, uint64_t elements) {
  format.decode(blocks, out, whole_blocks(format, elements));
}

bool is_encodable(const Format& format, float value) {
  if (format.block_elements > 1) return std::abs(value) <= kLargestHalf;  // false for NaN
  if (!std::isfinite(value)) return true;
  switch (format.dtype) {  // what rounds to infinity
    case DType::kF16:
      return std::abs(value) < 65520.0f;
    case DType::kBF16:
      return std::abs(value) < 0x1.ffp127f;
    default:
      return true;
  }
}

uint64_t first_unencodable(const Format& format, const float* values, uint64_t n) {
  constexpr uint64_t kRun = 64;  // whole runs within every format's reach are passed without a look
  uint64_t i = 0;
  while (i < n) {
    bool beyond = false;
    const uint64_t end = std::min(i + kRun, n);
    for (uint64_t j = i; j < end; ++j) beyond |= !(std::abs(values[j]) <= kLargestHalf);
    for (; beyond && i < end; ++i) {
      if (!is_encodable(format, values[i])) return i;
    }
    i = end;
  }
  return n;
}

void encode(const Format& format, const float* in, std::byte* blocks, uint64_t elements) {
  REALM_CHECK(format.encode != nullptr, "weight format ", format.name, " is read, not written");
  const uint64_t n_blocks = whole_blocks(format, elements);
  const uint64_t bad = first_unencodable(format, in, elements);
  REALM_CHECK(bad == elements, "cannot encode value ", bad, " as ", format.name, ": it is ",
              in[bad]);
  format.encode(in, blocks, n_blocks);
}

}  // namespace realm
