// What tests of CPU kernels share: random operands, and running a kernel at every level of this
// machine.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include "cpp/harness.h"
#include "cpu/dispatch.h"

namespace realm::test {

using Floats = std::vector<float>;

inline Floats random_floats(size_t n, unsigned seed, float spread = 2.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  Floats values(n);
  for (float& value : values) value = normal(generator);
  return values;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Runs `body(kernels)`, which gives a vector, at each level of this machine; all results must have
// the baseline's bits, which it returns.
template <class Body>
auto at_every_level(Body body) {
  const auto baseline = body(cpu::kernels_for(CpuLevel::kBaseline));
  for (const CpuLevel level : supported_cpu_levels()) {
    const bool same = same_bits(body(cpu::kernels_for(level)), baseline);
    if (!same) report_failure(__FILE__, __LINE__, concat("other bits at ", cpu_level_name(level)));
  }
  return baseline;
}

}  // namespace realm::test
