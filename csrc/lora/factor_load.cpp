#include "lora/factor_load.h"

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/text.h"
#include "quant/formats.h"

namespace realm::lora {

namespace {

template <class Word>
Word word_at(const std::byte* bytes, size_t i) {
  Word word;
  std::memcpy(&word, bytes + i * sizeof(Word), sizeof(Word));
  return word;
}

// Whether any word has all bits of `exponent` set: NaN and infinities do. Without branches, so that
// it runs at the speed of memory.
template <class Word>
bool has_special(const std::byte* bytes, size_t n, Word exponent) {
  Word found = 0;
  for (size_t i = 0; i < n; ++i) {
    found |= static_cast<Word>((word_at<Word>(bytes, i) & exponent) == exponent);
  }
  return found != 0;
}

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

bool has_special(const SourceTensor& tensor) {
  const auto n = static_cast<size_t>(tensor.shape.elements());
  const std::byte* bytes = tensor.bytes.data();
  if (tensor.dtype == DType::kF32) return has_special<uint32_t>(bytes, n, 0x7f800000u);
  if (tensor.dtype == DType::kF16) return has_special<uint16_t>(bytes, n, 0x7c00);
  return has_special<uint16_t>(bytes, n, 0x7f80);
}

// The 16-bit type that holds every value exactly, else F32.
DType narrowest(std::span<const float> values) {
  uint32_t low_bits = 0;
  for (const float value : values) low_bits |= float_bits(value) & 0xffff;
  if (low_bits == 0) return DType::kBF16;
  for (const float value : values) {
    if (f16_to_f32(f32_to_f16(value)) != value) return DType::kF32;
  }
  return DType::kF16;
}

struct Grid {
  int64_t rows, cols;
  const Turn& turn;

  int64_t source_row(int64_t row) const {
    return turn.reordered ? outside_row(*turn.reordered, row) : row;
  }
};

template <class Word>
void turn_words(const std::byte* in, std::byte* out, const Grid& grid) {
  const auto cols = static_cast<size_t>(grid.cols), rows = static_cast<size_t>(grid.rows);
  for (size_t row = 0; row < rows; ++row) {
    const auto from = static_cast<size_t>(grid.source_row(static_cast<int64_t>(row)));
    const std::byte* source = in + from * cols * sizeof(Word);
    if (!grid.turn.is_transposed) {
      std::memcpy(out + row * cols * sizeof(Word), source, cols * sizeof(Word));
      continue;
    }
    for (size_t col = 0; col < cols; ++col) {
      std::memcpy(out + (col * rows + row) * sizeof(Word), source + col * sizeof(Word),
                  sizeof(Word));
    }
  }
}

// The values as 16-bit words, in memory of their own.
std::vector<uint16_t> narrowed(std::span<const float> values, DType dtype) {
  std::vector<uint16_t> halves(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    halves[i] = dtype == DType::kF16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
  }
  return halves;
}

Factor turned(const std::byte* in, DType dtype, const Grid& grid) {
  const bool swap = grid.turn.is_transposed;
  Factor out(dtype, swap ? grid.cols : grid.rows, swap ? grid.rows : grid.cols);
  if (dtype == DType::kF32) {
    turn_words<uint32_t>(in, out.data(), grid);
  } else {
    turn_words<uint16_t>(in, out.data(), grid);
  }
  return out;
}

}  // namespace

std::vector<float> values_of(const SourceTensor& tensor, uint64_t first, uint64_t n) {
  const Format& format = format_of(tensor.dtype);
  std::vector<float> values(n);
  decode(format, tensor.bytes.data() + *encoded_bytes(format, first), values.data(), n);
  return values;
}

std::string defect_of(const SourceTensor& tensor) {
  if (is_float(tensor.dtype) && !has_special(tensor)) return {};
  const std::vector<float> values = values_of(tensor, 0, tensor.shape.elements());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return concat("value #", i, " is ", values[i]);
  }
  return {};
}

Factor make_factor(const SourceTensor& tensor, int64_t rows, int64_t cols, const Turn& turn) {
  const Grid grid{rows, cols, turn};
  if (tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16) {
    return turned(tensor.bytes.data(), tensor.dtype, grid);
  }
  const std::vector<float> values = values_of(tensor, 0, tensor.shape.elements());
  const DType dtype = narrowest(values);
  if (dtype == DType::kF32) return turned(std::as_bytes(std::span(values)).data(), dtype, grid);
  const std::vector<uint16_t> halves = narrowed(values, dtype);
  return turned(std::as_bytes(std::span(halves)).data(), dtype, grid);
}

std::vector<float> make_vector(const SourceTensor& tensor, int64_t n, const Turn& turn) {
  const std::vector<float> values = values_of(tensor, 0, static_cast<uint64_t>(n));
  const Grid grid{n, 1, turn};
  std::vector<float> out(values.size());
  for (int64_t i = 0; i < n; ++i) {
    out[static_cast<size_t>(i)] = values[static_cast<size_t>(grid.source_row(i))];
  }
  return out;
}

}  // namespace realm::lora
