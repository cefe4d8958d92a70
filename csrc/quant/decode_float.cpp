// Reference decoders of the plain float formats. Everything but F64 is exact; F64 rounds to nearest
// even and overflows to infinity.
#include <cstring>

#include "base/half.h"
#include "quant/decoders.h"

namespace realm {

namespace {

template <class Value>
Value load(const std::byte* values, uint64_t i) {
  Value value;
  std::memcpy(&value, values + i * sizeof value, sizeof value);
  return value;
}

}  // namespace

void decode_f32(const std::byte* values, float* out, uint64_t n) {
  if (n != 0) std::memcpy(out, values, n * sizeof(float));
}

void decode_f64(const std::byte* values, float* out, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) out[i] = static_cast<float>(load<double>(values, i));
}

void decode_f16(const std::byte* values, float* out, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) out[i] = f16_to_f32(load<uint16_t>(values, i));
}

void decode_bf16(const std::byte* values, float* out, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) out[i] = bf16_to_f32(load<uint16_t>(values, i));
}

}  // namespace realm
