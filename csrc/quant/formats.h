// The table of weight formats: one row per format with its block geometry, reference decoder and,
// where we write the format, its encoder. The decoders here are the oracle of every fast kernel:
// slow, obvious, bit-equal to the `gguf` package. Thread-safe: pure functions over the caller's
// memory.
//
// A row of a tensor is a run of blocks; a block holds `block_elements` values in `block_bytes`
// bytes (layouts in quant/blocks.h). Formats that we do not know have no row, and files that use
// them are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace realm {

// Decodes `n_blocks` consecutive blocks. `blocks` needs no alignment.
using DecodeBlocks = void (*)(const std::byte* blocks, float* out, uint64_t n_blocks);

// Encodes `n_blocks` blocks from finite floats.
using EncodeBlocks = void (*)(const float* in, std::byte* blocks, uint64_t n_blocks);

struct Format {
  DType dtype;
  const char* name;
  uint32_t block_elements;
  uint32_t block_bytes;
  DecodeBlocks decode;
  EncodeBlocks encode;  // null: we read this format but do not write it
};

std::span<const Format> all_formats();

// By id as files carry it; null when the id has no row.
const Format* find_format(uint32_t id);
// By name, as printed ("Q4_K"), ignoring case; null when there is none.
const Format* find_format(std::string_view name);
// The row of a known format.
const Format& format_of(DType dtype);

// Bytes of `elements` values in consecutive blocks; no value if they do not fill whole blocks or
// overflow.
std::optional<uint64_t> encoded_bytes(const Format& format, uint64_t elements);

// Bytes of a tensor: every row must be whole blocks.
std::optional<uint64_t> tensor_bytes(const Format& format, const Shape& shape);

// Decodes `elements` values, a whole number of blocks.
void decode(const Format& format, const std::byte* blocks, float* out, uint64_t elements);

// Whether `format` has a code near `value`. Block formats scale by a half float: beyond its
// largest, and for NaN and infinity, there is none. Plain floats carry what they can and F16
// and BF16 no finite value that would become infinite.
bool is_encodable(const Format& format, float value);
// The first of `n` values that is not encodable, n if all are.
uint64_t first_unencodable(const Format& format, const float* values, uint64_t n);

// Encodes `elements` values. Throws kInvalidRequest if the format has no encoder, the count is not
// whole blocks, or a value is not encodable.
void encode(const Format& format, const float* in, std::byte* blocks, uint64_t elements);

}  // namespace realm
