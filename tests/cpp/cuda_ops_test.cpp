// The CUDA backend's ops whose rows stand alone, and its mixture of experts, on the emulated
// device: against float64, or against the CPU backend where bits or choices must be the same.
#include <algorithm>
#include <cstring>
#include <functional>

#include "cpp/cuda_device.h"
#include "cpp/harness.h"
#include "cuda/kernels.h"
#include "quant/formats.h"

using namespace realm;
using test::CudaDevice;
using test::Doubles;
using test::Floats;

namespace {

constexpr int64_t kRows = 3;

Doubles map(const Floats& in, const std::function<double(size_t)>& f) {
  Doubles out;
  for (size_t i = 0; i < in.size(); ++i) out.push_back(f(i));
  return out;
}

double silu(double x) {
  return x / (1 + std::exp(-x));
}

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
}

Doubles norm(const Floats& x, const Floats& weight, const Floats& bias, bool centred, double eps) {
  const size_t n = weight.size();
  Doubles out;
  for (size_t row = 0; row < x.size() / n; ++row) {
    double mean = 0, squares = 0;
    for (size_t i = 0; centred && i < n; ++i) mean += x[row * n + i] / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) squares += std::pow(x[row * n + i] - mean, 2);
    const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + eps);
    for (size_t i = 0; i < n; ++i) {
      out.push_back((x[row * n + i] - mean) * factor * weight[i] + (bias.empty() ? 0 : bias[i]));
    }
  }
  return out;
}

}  // namespace

TEST(norms_of_narrow_and_wide_rows_are_right_also_in_place) {
  CudaDevice device;
  for (const int64_t n : {5, 33, 512, 700}) {
    const Floats x = test::normal_values(kRows * n, 1), w = test::normal_values(n, 2),
                 b = test::normal_values(n, 3);
    const Matrix in = device.matrix(kRows, x), out = device.poisoned(kRows, n);
    device.backend->norm(NormKind::kRms, in, device.vector(w), {}, 1e-5f, out);
    EXPECT(test::relative_error(device.read(out), norm(x, w, {}, false, 1e-5)) < 1e-6);
    device.backend->norm(NormKind::kLayer, in, device.vector(w), device.vector(b), 1e-5f, in);
    EXPECT(test::relative_error(device.read(in), norm(x, w, b, true, 1e-5)) < 2e-6);
  }
}

TEST(elementwise_ops_are_right) {
  CudaDevice device;
  const Floats x = test::normal_values(kRows * 100, 4, 3.0f), y = test::normal_values(300, 5);
  const auto after = [&](const std::function<void(Matrix, Matrix)>& op) {
    const Matrix m = device.matrix(kRows, x);
    op(m, device.matrix(kRows, y));
    return device.read(m);
  };
  Backend& b = *device.backend;
  const auto near = [&](const Floats& values, const std::function<double(size_t)>& f) {
    return test::relative_error(values, map(x, f)) < 1e-6;
  };
  EXPECT(near(after([&](Matrix m, Matrix n) { b.add(m, n, 0.5f); }),
              [&](size_t i) { return x[i] + 0.5 * y[i]; }));
  EXPECT(near(after([&](Matrix m, Matrix) { b.scale(m, 1.5f); }),
              [&](size_t i) { return 1.5 * x[i]; }));
  EXPECT(near(after([&](Matrix m, Matrix) { b.softcap(m, 2.0f); }),
              [&](size_t i) { return 2 * std::tanh(x[i] / 2.0); }));
  EXPECT(near(after([&](Matrix m, Matrix) { b.activate(Activation::kSilu, m); }),
              [&](size_t i) { return silu(x[i]); }));
  EXPECT(near(after([&](Matrix m, Matrix) { b.activate(Activation::kGeluTanh, m); }),
              [&](size_t i) { return gelu(x[i]); }));
  EXPECT(near(after([&](Matrix m, Matrix n) { b.gate(Activation::kSilu, m, n, m); }),
              [&](size_t i) { return silu(x[i]) * y[i]; }));
  const Floats logits{-1, 0, 4};
  EXPECT(near(after([&](Matrix m, Matrix) { b.scale_by_sigmoid(m, device.matrix(3, logits)); }),
              [&](size_t i) { return x[i] / (1 + std::exp(-double{logits[i / 100]})); }));
}

TEST(rotation_turns_pairs_of_both_kinds_and_leaves_the_rest) {
  CudaDevice device;
  constexpr int64_t kWidth = 10, kHeads = 3, kHalf = 4;
  const Floats x = test::normal_values(kRows * kHeads * kWidth, 6);
  const Floats angle = test::normal_values(kRows * kHalf, 7);
  Floats cos(angle), sin(angle);
  for (float& a : cos) a = std::cos(a);
  for (float& a : sin) a = std::sin(a);
  for (const bool interleaved : {false, true}) {
    const Matrix m = device.matrix(kRows, x);
    device.backend->rotate(m, kWidth,
                           {device.vector(cos).data, device.vector(sin).data, kHalf, interleaved});
    Doubles expected(x.begin(), x.end());
    for (size_t head = 0; head < kRows * kHeads; ++head) {
      for (size_t i = 0; i < kHalf; ++i) {
        const size_t a = head * kWidth + (interleaved ? 2 * i : i);
        const size_t b = interleaved ? a + 1 : a + kHalf, at = head / kHeads * kHalf + i;
        expected[a] = double{x[a]} * cos[at] - double{x[b]} * sin[at];
        expected[b] = double{x[b]} * cos[at] + double{x[a]} * sin[at];
      }
    }
    EXPECT(test::relative_error(device.read(m), expected) < 1e-7);
  }
}

namespace {

struct Mixture {
  std::vector<int32_t> expert;
  Floats weight, out;
};

// Routes and runs a mixture of random experts on a backend.
Mixture mix(Backend& b, int64_t rows, int64_t n_experts, int64_t n_used, const Floats& logits,
            DType type) {
  constexpr int64_t kEmbed = 64, kWidth = 32;
  const Format& format = format_of(type);
  std::vector<std::unique_ptr<Weight>> weights;
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<std::vector<std::byte>> bytes;
  const auto bank = [&](int64_t n, int64_t cols, unsigned seed) {
    const Floats values = test::normal_values(n_experts * n * cols, seed, 0.2f);
    bytes.emplace_back(*encoded_bytes(format, values.size()));
    encode(format, values.data(), bytes.back().data(), values.size());
    weights.push_back(
        b.load_weight({type, n_experts * n, cols, bytes.back(), std::make_shared<int>(0)}));
    return weights.back().get();
  };
  const auto matrix = [&](int64_t n, int64_t cols) {
    buffers.push_back(b.allocate(static_cast<uint64_t>(n * cols) * 4));
    return Matrix{reinterpret_cast<float*>(buffers.back()->data()), n, cols};
  };
  const auto filled = [&](int64_t n, int64_t cols, const Floats& values) {
    const Matrix m = matrix(n, cols);
    b.upload(values.data(), m.data, values.size() * 4);
    return m;
  };
  const ExpertBank banks{bank(kWidth, kEmbed, 1), bank(kWidth, kEmbed, 2), bank(kEmbed, kWidth, 3),
                         n_experts};
  const int64_t n = rows * n_used;
  const Matrix ids = matrix(rows, n_used), chosen = matrix(rows, n_used);
  const Matrix in = filled(rows, kEmbed, test::normal_values(rows * kEmbed, 4));
  const Matrix out = matrix(rows, kEmbed);
  const Routing routing{reinterpret_cast<int32_t*>(ids.data), chosen.data, n_used};
  b.route(filled(rows, n_experts, logits), true, routing);
  b.experts(banks, Activation::kSilu, in, routing,
            {matrix(n, kEmbed), matrix(n, kEmbed), matrix(n, kWidth), matrix(n, kWidth)}, out);
  Mixture result{std::vector<int32_t>(static_cast<size_t>(n)), Floats(static_cast<size_t>(n)),
                 Floats(static_cast<size_t>(rows * kEmbed))};
  b.download(ids.data, result.expert.data(), result.expert.size() * 4);
  b.download(chosen.data, result.weight.data(), result.weight.size() * 4);
  b.download(out.data, result.out.data(), result.out.size() * 4);
  return result;
}

Doubles doubles(const Floats& values) {
  return {values.begin(), values.end()};
}

}  // namespace

TEST(a_mixture_chooses_and_adds_what_the_cpu_does_ties_included) {
  const auto cpu = make_cpu_backend(1);
  CudaDevice device;
  for (const int64_t rows : {1, 5, 40}) {
    Floats logits = test::normal_values(rows * 7, 9);
    for (int64_t i = 0; i < 7; ++i) logits[static_cast<size_t>(i)] = i % 2 ? 1.0f : 0.5f;
    const Mixture expected = mix(*cpu, rows, 7, 3, logits, DType::kF32);
    const Mixture found = mix(*device.backend, rows, 7, 3, logits, DType::kF32);
    EXPECT(found.expert == expected.expert);
    EXPECT((std::vector<int32_t>(found.expert.begin(), found.expert.begin() + 3) ==
            std::vector<int32_t>{1, 3, 5}));
    EXPECT(test::relative_error(found.weight, doubles(expected.weight)) < 1e-6);
    EXPECT(test::relative_error(found.out, doubles(expected.out)) < 1e-5);
  }
}

TEST(a_quantized_mixture_stays_within_the_rounding_of_its_input) {
  const auto cpu = make_cpu_backend(1);
  CudaDevice device;
  for (const int64_t rows : {3, 50}) {
    const Floats logits = test::normal_values(rows * 5, 10);
    const Mixture expected = mix(*cpu, rows, 5, 2, logits, DType::kQ8_0);
    const Mixture found = mix(*device.backend, rows, 5, 2, logits, DType::kQ8_0);
    EXPECT(found.expert == expected.expert);
    EXPECT(test::relative_error(found.out, doubles(expected.out)) < 2e-2);
  }
}

TEST(more_experts_than_lanes_are_ordered) {
  CudaDevice device;
  const auto cpu = make_cpu_backend(1);
  const Floats logits = test::normal_values(9 * 70, 11);
  const Mixture found = mix(*device.backend, 9, 70, 8, logits, DType::kF32);
  const Mixture expected = mix(*cpu, 9, 70, 8, logits, DType::kF32);
  EXPECT(found.expert == expected.expert);
  EXPECT(test::relative_error(found.out, doubles(expected.out)) < 1e-5);
}

TEST(the_greedy_choice_is_the_lower_of_two_and_none_beside_a_nan) {
  CudaDevice device;
  Floats logits = test::normal_values(4 * 600, 12);
  logits[500] = logits[77] = 9;
  logits[600 + 599] = 9;
  logits[2 * 600 + 300] = NAN;
  for (size_t i = 3 * 600; i < logits.size(); ++i) logits[i] = -INFINITY;
  const Matrix m = device.matrix(4, logits), out = device.poisoned(4, 1);
  std::vector<int32_t> tokens(4);
  cuda::launch_choose_largest(m.data, 4, 600, reinterpret_cast<int32_t*>(out.data), nullptr);
  device.backend->download(out.data, tokens.data(), 16);
  EXPECT((tokens == std::vector<int32_t>{77, 599, -1, 0}));
}
