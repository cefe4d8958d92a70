// A GPU's backend with the memory of one test: uploads, poisoned outputs, comparisons with float64.
#pragma once

#include <cmath>
#include <list>
#include <random>
#include <vector>

#include "backend/backend.h"

namespace realm::test {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

class GpuDevice {
 public:
  explicit GpuDevice(std::unique_ptr<Backend> on) : backend(std::move(on)) {}

  const std::unique_ptr<Backend> backend;

  Matrix matrix(int64_t rows, const Floats& values) {
    const auto n = static_cast<int64_t>(values.size());
    Matrix m = poisoned(rows, n / rows);
    backend->upload(values.data(), m.data, values.size() * sizeof(float));
    return m;
  }
  Matrix poisoned(int64_t rows, int64_t cols) {
    const auto bytes_needed = rows * cols * static_cast<int64_t>(sizeof(float));
    return {reinterpret_cast<float*>(bytes(bytes_needed)), rows, cols};
  }
  // Full of NaN in every format, as memory of the emulated device starts.
  std::byte* bytes(int64_t n) {
    buffers_.push_back(backend->allocate(static_cast<uint64_t>(n)));
    const std::vector<unsigned char> poison(static_cast<size_t>(n), 0xff);
    backend->upload(poison.data(), buffers_.back()->data(), poison.size());
    return buffers_.back()->data();
  }
  Vector vector(const Floats& values) {
    return {matrix(1, values).data, static_cast<int64_t>(values.size())};
  }
  Floats read(Matrix m) {
    Floats values(static_cast<size_t>(m.rows * m.cols));
    backend->download(m.data, values.data(), values.size() * sizeof(float));
    return values;
  }

 private:
  std::list<std::unique_ptr<Buffer>> buffers_;
};

inline Floats normal_values(int64_t n, unsigned seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Floats values(static_cast<size_t>(n));
  for (float& value : values) value = scale * normal(random);
  return values;
}

// Root of the squared differences over the reference's squares; infinite for NaN and other sizes.
inline double relative_error(const Floats& values, const Doubles& reference) {
  if (values.size() != reference.size()) return INFINITY;
  double error = 0, power = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += (values[i] - reference[i]) * (values[i] - reference[i]);
    power += reference[i] * reference[i];
  }
  const double relative = std::sqrt(error / power);
  return relative <= 1e9 ? relative : INFINITY;
}

}  // namespace realm::test
