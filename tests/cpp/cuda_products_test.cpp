// Matrix products, embedding and quantized inputs of the CUDA backend on the emulated device, each
// against float64 over the very values that the kernel multiplies.
#include <cstring>

#include "base/half.h"
#include "cpp/cuda_device.h"
#include "cpp/harness.h"
#include "quant/formats.h"

using namespace realm;
using test::CudaDevice;
using test::Doubles;
using test::Floats;

namespace {

// A weight encoded from random values, and what it decodes to.
struct Sample {
  DType dtype;
  int64_t rows, cols;
  std::vector<std::byte> bytes;
  Floats values;

  Sample(DType type, int64_t n_rows, int64_t n_cols, unsigned seed)
      : dtype(type), rows(n_rows), cols(n_cols) {
    const Format& format = format_of(type);
    const Floats plain = test::normal_values(n_rows * n_cols, seed, 0.5f);
    bytes.resize(*encoded_bytes(format, plain.size()));
    encode(format, plain.data(), bytes.data(), plain.size());
    values.resize(plain.size());
    decode(format, bytes.data(), values.data(), plain.size());
    if (type == DType::kQ5_1) {  // stands for the formats that become halves at load
      for (float& value : values) value = f16_to_f32(f32_to_f16(value));
    }
  }
  WeightBytes view() const { return {dtype, rows, cols, bytes, nullptr}; }
};

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
  } else if ((type == DType::kF16 || type == DType::kQ5_1) && rows > 4) {
    for (size_t i = 0; i < in.size(); i += cols) round_to_halves(&in[i], cols);
  } else if (type == DType::kBF16 && rows > 4) {
    for (float& x : in) x = bf16_to_f32(f32_to_bf16(x));
  }
  return in;
}

Doubles product(const Floats& in, const Sample& w, int64_t first_row, int64_t n_rows,
                const Floats& bias) {
  const int64_t rows = static_cast<int64_t>(in.size()) / w.cols;
  Doubles out;
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t n = 0; n < n_rows; ++n) {
      double sum = bias.empty() ? 0 : bias[static_cast<size_t>(n)];
      for (int64_t k = 0; k < w.cols; ++k) {
        sum += double{in[static_cast<size_t>(t * w.cols + k)]} *
               w.values[static_cast<size_t>((first_row + n) * w.cols + k)];
      }
      out.push_back(sum);
    }
  }
  return out;
}

void expect_product(DType type, int64_t n_in, int64_t n_out, int64_t cols, bool with_bias) {
  CudaDevice device;
  const Sample sample(type, n_out + 3, cols, 11);
  const auto weight = device.backend->load_weight(sample.view());
  const Floats in = test::normal_values(n_in * cols, 12), bias = test::normal_values(n_out, 13);
  const Matrix x = device.matrix(n_in, in), out = device.poisoned(n_in, n_out);
  const Product one{{*weight, 2, n_out}, with_bias ? device.vector(bias) : Vector{}, out};
  device.backend->linear({&one, 1}, x);
  const Doubles expected =
      product(rounded_input(in, type, n_in), sample, 2, n_out, with_bias ? bias : Floats{});
  const double error = test::relative_error(device.read(out), expected);
  const double allowed = 3e-6;
  if (!(error <= allowed)) {
    test::report_failure(__FILE__, __LINE__,
                         concat(format_of(type).name, ": ", n_in, " x ", cols, " x ", n_out,
                                ": error ", error, " above ", allowed));
  }
}

constexpr DType kPacked[] = {DType::kQ4_0, DType::kQ8_0,   DType::kQ4_K,  DType::kQ5_K,
                             DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS};

}  // namespace

TEST(few_rows_times_every_packed_format_are_right) {
  for (const DType type : kPacked) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8}) expect_product(type, rows, 13, 512, true);
    expect_product(type, 1, 1, 256, false);
  }
  expect_product(DType::kQ4_0, 3, 9, 32 * 37, true);  // a last round in which not all lanes work
}

TEST(many_rows_times_every_packed_format_are_right) {
  for (const DType type : kPacked) {
    expect_product(type, 9, 70, 512, true);
    expect_product(type, 70, 7, 256, false);
  }
  expect_product(DType::kQ8_0, 20, 33, 32 * 5, true);  // a slab that ends early
  expect_product(DType::kQ6_K, 33, 65, 768, true);
}

TEST(products_with_plain_weights_are_right) {
  for (const int64_t rows : {1, 3, 5, 17, 66}) {
    for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
      expect_product(type, rows, 11, 36, true);
      expect_product(type, rows, 35, 300, false);
    }
  }
  expect_product(DType::kF16, 70, 130, 72, true);
}

TEST(formats_without_a_packing_are_decoded_at_load) {
  expect_product(DType::kQ5_1, 3, 9, 96, true);
  expect_product(DType::kQ5_1, 20, 9, 96, true);
}

TEST(products_of_one_group_have_the_bits_they_have_alone) {
  CudaDevice device;
  const Sample a(DType::kQ4_K, 20, 256, 1), b(DType::kF16, 12, 256, 2), c(DType::kQ6_K, 8, 256, 3);
  const auto wa = device.backend->load_weight(a.view()), wb = device.backend->load_weight(b.view()),
             wc = device.backend->load_weight(c.view());
  const Matrix x = device.matrix(11, test::normal_values(11 * 256, 4));
  const Matrix oa = device.poisoned(11, 20), ob = device.poisoned(11, 12),
               oc = device.poisoned(11, 8), alone = device.poisoned(11, 8);
  const Product group[] = {{*wa, {}, oa}, {*wb, {}, ob}, {*wc, {}, oc}};
  const Product one{*wc, {}, alone};
  device.backend->linear(group, x);
  device.backend->linear({&one, 1}, x);
  EXPECT(device.read(oc) == device.read(alone));
}

TEST(a_deterministic_product_has_the_same_bits_in_any_company) {
  for (const DType type : {DType::kQ4_K, DType::kF16}) {
    CudaDevice device(true);
    const Sample sample(type, 9, 256, 5);
    const auto weight = device.backend->load_weight(sample.view());
    const Floats in = test::normal_values(30 * 256, 6);
    const Matrix many = device.poisoned(30, 9), one = device.poisoned(1, 9);
    const Product all{*weight, {}, many}, single{*weight, {}, one};
    const Matrix x = device.matrix(30, in);
    device.backend->linear({&all, 1}, x);
    const Floats together = device.read(many);
    for (const int64_t row : {0, 7, 8, 29}) {
      device.backend->linear({&single, 1}, {x.data + row * 256, 1, 256});
      const Floats alone = device.read(one);
      EXPECT(std::memcmp(alone.data(), &together[static_cast<size_t>(row * 9)], 36) == 0);
    }
  }
}

TEST(a_nan_in_the_input_reaches_its_own_row_and_no_other) {
  CudaDevice device;
  for (const int64_t rows : {4, 12}) {
    const Sample sample(DType::kQ4_K, 5, 256, 5);
    const auto weight = device.backend->load_weight(sample.view());
    Floats in = test::normal_values(rows * 256, 6);
    in[256 + 100] = NAN;
    in[2 * 256 + 9] = INFINITY;
    const Matrix out = device.poisoned(rows, 5);
    const Product one{*weight, {}, out};
    device.backend->linear({&one, 1}, device.matrix(rows, in));
    const Floats values = device.read(out);
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_EQ(std::isfinite(values[i]), i / 5 != 1 && i / 5 != 2);
  }
}

TEST(decoded_rows_are_those_of_the_reference_bit_for_bit) {
  CudaDevice device;
  for (const DType type :
       {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL,
        DType::kIQ4_XS, DType::kF32, DType::kF16, DType::kBF16}) {
    const Sample sample(type, 7, 512, 21);
    const auto weight = device.backend->load_weight(sample.view());
    Floats rows(3 * 512);
    device.backend->decode_rows(*weight, 2, 3, rows.data());
    const bool same = std::memcmp(rows.data(), &sample.values[2 * 512], rows.size() * 4) == 0;
    if (!same) test::report_failure(__FILE__, __LINE__, format_of(type).name);
  }
}

TEST(an_embedding_gathers_and_scales_rows) {
  CudaDevice device;
  const Sample sample(DType::kQ6_K, 9, 256, 22);
  const auto table = device.backend->load_weight(sample.view());
  const std::vector<int32_t> tokens{8, 0, 3, 8};
  const Matrix out = device.poisoned(4, 256), picked = device.poisoned(2, 256);
  device.backend->embed(*table, tokens, 2.5f, out);
  const std::vector<int32_t> rows{1, 3};
  device.backend->gather(out, rows, picked);
  const Floats values = device.read(picked);
  for (size_t i = 0; i < 256; ++i) {
    EXPECT_EQ(values[i], sample.values[i] * 2.5f);
    EXPECT_EQ(values[256 + i], sample.values[8 * 256 + i] * 2.5f);
  }
}
