// Encoders of the plain number formats: a block is one value, and the only loss is the rounding to
// nearest even of F16 and BF16. Values beyond the largest F16 become infinite, as IEEE says; NaN
// and infinities, which these formats alone may be given, stay what they are.
#include <cstring>

#include "base/half.h"
#include "quant/encoders.h"

namespace realm {

namespace {

template <class Convert>
void encode_values(const float* in, std::byte* out, uint64_t n, Convert convert) {
  for (uint64_t i = 0; i < n; ++i) {
    const auto value = convert(in[i]);
    std::memcpy(out + i * sizeof value, &value, sizeof value);
  }
}

}  // namespace

void encode_f32(const float* in, std::byte* blocks, uint64_t n_blocks) {
  if (n_blocks != 0) std::memcpy(blocks, in, n_blocks * sizeof(float));
}

void encode_f64(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_values(in, blocks, n_blocks, [](float value) { return static_cast<double>(value); });
}

void encode_f16(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_values(in, blocks, n_blocks, f32_to_f16);
}

void encode_bf16(const float* in, std::byte* blocks, uint64_t n_blocks) {
  encode_values(in, blocks, n_blocks, f32_to_bf16);
}

}  // namespace realm
