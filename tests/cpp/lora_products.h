// Products of adapters with random operands, and what they must give, in double.
#pragma once

#include <cstring>
#include <numeric>
#include <vector>

#include "backend/operands.h"
#include "base/counter_rng.h"
#include "base/half.h"

namespace realm::test {

inline std::vector<float> random_floats(size_t n, uint32_t stream) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) {
    const PhiloxBlock block = philox4x32({static_cast<uint32_t>(i), stream, 0, 0}, 11);
    out[i] = static_cast<float>(static_cast<int32_t>(block[0])) * 0x1p-31f;
  }
  return out;
}

// A factor of some type, and its exact values.
struct TestFactor {
  DType dtype;
  int64_t rows, cols;
  std::vector<float> values;
  std::vector<uint16_t> halves;

  TestFactor(DType type, int64_t r, int64_t c, uint32_t stream)
      : dtype(type), rows(r), cols(c), values(random_floats(static_cast<size_t>(r * c), stream)) {
    if (dtype == DType::kF32) return;
    for (float& value : values) {
      const bool is_f16 = dtype == DType::kF16;
      halves.push_back(is_f16 ? f32_to_f16(value) : f32_to_bf16(value));
      value = is_f16 ? f16_to_f32(halves.back()) : bf16_to_f32(halves.back());
    }
  }
  FactorView view() const {
    const void* data = halves.empty() ? static_cast<const void*>(values.data()) : halves.data();
    return {static_cast<const std::byte*>(data), dtype, rows, cols, cols};
  }
  double at(int64_t row, int64_t col) const {
    return values[static_cast<size_t>(row * cols + col)];
  }
};

struct LoraCase {
  DType dtype;
  int64_t rank, n_in, n_out, n_rows;
};

inline constexpr LoraCase kCases[] = {
    {DType::kF32, 1, 16, 16, 1}, {DType::kF16, 8, 64, 96, 3},  {DType::kBF16, 16, 100, 70, 9},
    {DType::kF16, 5, 33, 1, 40}, {DType::kF32, 19, 7, 130, 5}, {DType::kBF16, 4, 2048, 1100, 2}};

struct Fixture {
  LoraCase shape;
  TestFactor down, up;
  std::vector<float> in, out, gain, rescale, bias, shift;
  std::vector<int32_t> rows;

  explicit Fixture(const LoraCase& c)
      : shape(c),
        down(c.dtype, c.rank, c.n_in, 1),
        up(c.dtype, c.rank, c.n_out, 2),
        in(random_floats(static_cast<size_t>(c.n_rows * c.n_in), 3)),
        out(random_floats(static_cast<size_t>(c.n_rows * c.n_out), 4)),
        gain(random_floats(static_cast<size_t>(c.n_out), 5)),
        rescale(random_floats(static_cast<size_t>(c.n_out), 6)),
        bias(random_floats(static_cast<size_t>(c.n_out), 7)),
        shift(random_floats(static_cast<size_t>(c.n_out), 8)),
        rows(static_cast<size_t>(c.n_rows)) {
    std::iota(rows.begin(), rows.end(), 0);
  }

  Vector vector(const std::vector<float>& values) const { return {values.data(), shape.n_out}; }
  Matrix input() { return {in.data(), shape.n_rows, shape.n_in}; }

  LoraProduct product(std::vector<float>& result, bool is_full) {
    LoraProduct p;
    p.down = down.view();
    p.up = up.view();
    p.scale = 0.75f;
    p.shift_scale = -0.5f;
    p.rows = rows;
    p.out = {result.data(), shape.n_rows, shape.n_out};
    if (!is_full) return p;
    p.gain = vector(gain);
    p.rescale = vector(rescale);
    p.bias = vector(bias);
    p.shift = vector(shift);
    return p;
  }

  double expected(int64_t row, int64_t col, bool is_full) const {
    const auto c = static_cast<size_t>(col);
    double sum = 0;
    for (int64_t j = 0; j < shape.rank; ++j) {
      double u = 0;
      for (int64_t k = 0; k < shape.n_in; ++k) {
        u += double{in[static_cast<size_t>(row * shape.n_in + k)]} * down.at(j, k);
      }
      sum += 0.75 * u * up.at(j, col);
    }
    const double before = out[static_cast<size_t>(row * shape.n_out + col)];
    if (!is_full) return before + sum;
    return double{rescale[c]} * (before - bias[c]) + bias[c] + gain[c] * sum - 0.5 * shift[c];
  }
};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace realm::test
