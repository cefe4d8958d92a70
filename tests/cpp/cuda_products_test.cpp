// Matrix products as gpu_products.inc tries them, on the emulated CUDA device.
#include "base/half.h"
#include "cpp/cuda_device.h"

using namespace realm;
using Device = test::CudaDevice;
using test::Floats;

namespace {

constexpr DType kPacked[] = {DType::kQ4_0, DType::kQ8_0,   DType::kQ4_K,  DType::kQ5_K,
                             DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS};

bool becomes_halves(DType type) {
  return type == DType::kQ5_1;  // which stands for the formats without a packing
}

// What quantize.cu makes of a row's group of 32.
void round_group(float* x) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[i]));
  const float scale = largest / 127.0f, inverse = largest > 0 ? 127.0f / largest : 0.0f;
  for (int i = 0; i < 32; ++i) x[i] = scale * std::nearbyint(x[i] * inverse);
}

bool is_packed(DType type) {
  switch (type) {
    case DType::kQ4_0:
    case DType::kQ8_0:
    case DType::kQ4_K:
    case DType::kQ5_K:
    case DType::kQ6_K:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return true;
    default:
      return false;
  }
}

// What it makes of a row of halves: scaled so that the largest lies in [2^13, 2^14).
void round_to_halves(float* x, size_t n) {
  float largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
  const float factor = std::ldexp(1.0f, 13 - std::ilogb(largest));
  for (size_t i = 0; i < n; ++i) x[i] = f16_to_f32(f32_to_f16(x[i] * factor)) / factor;
}

// The input as the product's kernel sees it.
Floats rounded_input(Floats in, DType type, int64_t rows) {
  const size_t cols = in.size() / static_cast<size_t>(rows);
  if (is_packed(type)) {
    for (size_t i = 0; i < in.size(); i += 32) round_group(&in[i]);
  } else if ((type == DType::kF16 || becomes_halves(type)) && rows > 4) {
    for (size_t i = 0; i < in.size(); i += cols) round_to_halves(&in[i], cols);
  } else if (type == DType::kBF16 && rows > 4) {
    for (float& x : in) x = bf16_to_f32(f32_to_bf16(x));
  }
  return in;
}

}  // namespace

#include "cpp/gpu_products.inc"

TEST(formats_without_a_packing_are_decoded_at_load) {
  expect_product(DType::kQ5_1, 3, 9, 96, true);
  expect_product(DType::kQ5_1, 20, 9, 96, true);
}

// A card may have the vendor's library, which then multiplies these; what it rounds is its own.
TEST(products_of_whole_prompts_are_right_whoever_multiplies) {
  struct Case {
    DType type;
    int64_t rows;
    double tolerance;
  };
  for (const auto& [type, rows, tolerance] : {Case{DType::kF16, 300, 4e-4},
                                              {DType::kBF16, 300, 3e-3},
                                              {DType::kQ4_K, 600, 8e-3},
                                              {DType::kQ6_K, 600, 8e-3}}) {
    Device device;
    const Sample sample(type, 27, 256, 31);
    const auto weight = device.backend->load_weight(sample.view());
    const Floats in = test::normal_values(rows * 256, 32), bias = test::normal_values(24, 33);
    const Matrix out = device.poisoned(rows, 24);
    const Product one{{*weight, 2, 24}, device.vector(bias), out};
    device.backend->linear({&one, 1}, device.matrix(rows, in));
    const double error = test::relative_error(device.read(out), product(in, sample, 2, 24, bias));
    if (!(error <= tolerance))
      test::report_failure(__FILE__, __LINE__, concat(format_of(type).name, ": error ", error));
  }
}
