// The row kernels of every CPU level: close to a double-precision reference, and bit-equal to the
// baseline level.
#include <cmath>
#include <limits>
#include <vector>

#include "base/half.h"
#include "cpp/levels.h"

using namespace realm;
using namespace realm::cpu;
using test::at_every_level, test::Floats, test::random_floats, test::same_bits;

namespace {

double relative_error(double value, double truth) {
  return std::abs(value - truth) / std::max(std::abs(truth), 1e-30);
}

constexpr int64_t kLengths[] = {1, 15, 16, 17, 64, 80, 257};

}  // namespace

TEST(each_table_was_compiled_for_its_own_level) {
  for (const CpuLevel level : supported_cpu_levels()) {
    const std::string name = cpu_level_name(level);
    EXPECT_EQ(std::string(panel_kernels_for(level).compiled_for), name);
    std::string others = name;  // levels that add to products alone share the other kernels
    if (name == "dotprod" || name == "i8mm") others = "neon";
    if (name == "amx") others = "avx512vnni";
    EXPECT_EQ(std::string(kernels_for(level).compiled_for()), others);
  }
}

TEST(panel_products_equal_a_chain_of_fmas) {
  for (const int64_t rows : {1, 2, 3, 8, 9, 21}) {
    for (const int64_t depth : {1, 31, 256}) {
      const Floats panel = random_floats(static_cast<size_t>(depth) * 16, 1);
      const Floats x = random_floats(static_cast<size_t>(rows * depth), 2);
      const Floats out = at_every_level([&](const Kernels& k) {
        Floats acc(static_cast<size_t>(rows) * 16, 0.5f);
        k.multiply_panel(panel.data(), x.data(), depth, rows, depth, acc.data());
        return acc;
      });
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t lane = 0; lane < 16; ++lane) {
          float chain = 0.5f;
          for (int64_t k = 0; k < depth; ++k) {
            chain = std::fma(x[static_cast<size_t>(r * depth + k)],
                             panel[static_cast<size_t>(k * 16 + lane)], chain);
          }
          EXPECT_EQ(out[static_cast<size_t>(r * 16 + lane)], chain);
        }
      }
    }
  }
}

TEST(norms_match_double_precision) {
  for (const int64_t n : kLengths) {
    const auto size = static_cast<size_t>(n);
    const Floats in = random_floats(size, 3), weight = random_floats(size, 4),
                 bias = random_floats(size, 5);
    const Floats rms = at_every_level([&](const Kernels& k) {
      Floats out(size);
      k.rms_norm(in.data(), weight.data(), 1e-5f, out.data(), n);
      return out;
    });
    const Floats layer = at_every_level([&](const Kernels& k) {
      Floats out(size);
      k.layer_norm(in.data(), weight.data(), bias.data(), 1e-5f, out.data(), n);
      return out;
    });
    double squares = 0, total = 0, spread = 0;
    for (const float v : in) squares += double(v) * v, total += v;
    const double mean = total / double(n);
    for (const float v : in) spread += (v - mean) * (v - mean);
    for (size_t i = 0; i < size; ++i) {
      const double expected = in[i] / std::sqrt(squares / double(n) + 1e-5) * weight[i];
      EXPECT(relative_error(rms[i], expected) < 1e-6);
      const double centred =
          (in[i] - mean) / std::sqrt(spread / double(n) + 1e-5) * weight[i] + bias[i];
      EXPECT(test::near(layer[i], centred, 4e-6 * (1 + std::abs(centred))));
    }
  }
}

TEST(exponential_functions_match_double_precision) {
  Floats x;
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i) * 0.004f);
  const auto n = static_cast<int64_t>(x.size());
  const auto activated = [&](Activation kind) {
    return at_every_level([&](const Kernels& k) {
      Floats out = x;
      k.activate(kind, out.data(), n);
      return out;
    });
  };
  const Floats silu = activated(Activation::kSilu), gelu = activated(Activation::kGeluTanh);
  const Floats capped = at_every_level([&](const Kernels& k) {
    Floats out = x;
    k.softcap(out.data(), 5.0f, n);
    return out;
  });
  double worst_silu = 0, worst_gelu = 0, worst_cap = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    const double inner = 0.79788456080286535588 * (v + 0.044715 * v * v * v);
    worst_silu = std::max(worst_silu, relative_error(silu[i], v / (1 + std::exp(-v))));
    worst_gelu = std::max(worst_gelu, std::abs(gelu[i] - 0.5 * v * (1 + std::tanh(inner))));
    worst_cap = std::max(worst_cap, relative_error(capped[i], 5 * std::tanh(v / 5)));
  }
  EXPECT(worst_silu < 4e-7);
  EXPECT(worst_gelu < 1e-6);
  EXPECT(worst_cap < 4e-7);
}

TEST(softmax_sums_to_one_and_nan_stays_visible) {
  for (const int64_t n : kLengths) {
    const Floats in = random_floats(static_cast<size_t>(n), 6, 10.0f);
    const Floats out = at_every_level([&](const Kernels& k) {
      Floats values = in;
      k.softmax(values.data(), n);
      return values;
    });
    double total = 0, reference = 0;
    for (const float v : in) reference += std::exp(double(v));
    for (size_t i = 0; i < in.size(); ++i) {
      total += out[i];
      EXPECT(test::near(out[i], std::exp(double(in[i])) / reference, 2e-6));
    }
    EXPECT(test::near(total, 1.0, 1e-5));
  }
  for (const CpuLevel level : supported_cpu_levels()) {
    Floats poisoned(20, 1.0f);
    poisoned[7] = std::numeric_limits<float>::quiet_NaN();
    kernels_for(level).activate(Activation::kSilu, poisoned.data(), 20);
    EXPECT(std::isnan(poisoned[7]) && !std::isnan(poisoned[8]));
  }
}

TEST(half_floats_widen_exactly) {
  std::vector<uint16_t> halves(0x10000);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  for (const CpuLevel level : supported_cpu_levels()) {
    Floats wide(halves.size()), brain(halves.size());
    kernels_for(level).widen_f16(halves.data(), wide.data(), 0xffff);
    kernels_for(level).widen_bf16(halves.data(), brain.data(), 0xffff);
    for (size_t i = 0; i < 0xffff; ++i) {
      const float expected = f16_to_f32(halves[i]);
      EXPECT(wide[i] == expected || (std::isnan(wide[i]) && std::isnan(expected)));
      EXPECT_EQ(float_bits(brain[i]), static_cast<uint32_t>(halves[i]) << 16);
    }
  }
}

TEST(rotation_turns_pairs) {
  for (const bool interleaved : {false, true}) {
    for (const size_t half : {1, 4, 16, 20, 32, 40, 65}) {
      const Floats in = random_floats(2 * half + 3, 7), angle = random_floats(half, 8);
      Floats cosines(half), sines(half);
      for (size_t i = 0; i < half; ++i) {
        cosines[i] = std::cos(angle[i]), sines[i] = std::sin(angle[i]);
      }
      const Floats out = at_every_level([&](const Kernels& k) {
        Floats x = in;
        k.rotate(x.data(), cosines.data(), sines.data(), static_cast<int64_t>(half), interleaved);
        return x;
      });
      for (size_t i = 0; i < half; ++i) {
        const size_t a = interleaved ? 2 * i : i, b = interleaved ? a + 1 : i + half;
        const double turned_a = double(in[a]) * cosines[i] - double(in[b]) * sines[i];
        const double turned_b = double(in[b]) * cosines[i] + double(in[a]) * sines[i];
        EXPECT(test::near(out[a], turned_a, 1e-6));
        EXPECT(test::near(out[b], turned_b, 1e-6));
      }
      for (size_t i = 2 * half; i < in.size(); ++i) EXPECT_EQ(out[i], in[i]);
    }
  }
}
