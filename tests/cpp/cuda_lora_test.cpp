// The adapters of gpu_lora.inc on the emulated CUDA device, and those of single experts.
#include "cpp/cuda_device.h"

using namespace realm;
using Device = test::CudaDevice;

namespace {

constexpr char kDevice[] = "cuda";
constexpr double kManyRowsError = 1e-5;  // F16 weights meet an input of halves

}  // namespace

#include "cpp/gpu_lora.inc"

// Kernels read whole rows as words where they can, several at a time, and rows alone by other
// kernels than rows in company.
TEST(bits_depend_neither_on_where_a_factor_lies_nor_on_company_in_its_tile) {
  for (const DType type : {DType::kF16, DType::kBF16, DType::kF32}) {
    Fixture fixture({type, 13, 3208, 516, 11});
    const auto run_shifted = [&](int64_t shift) {
      Products device;
      const Matrix out = device.matrix(fixture.out, 11);
      Floats unused = fixture.out;
      LoraProduct product = device.on_device(fixture, fixture.product(unused, true), out);
      for (FactorView* factor : {&product.down, &product.up}) {
        const int64_t width = type == DType::kF32 ? 4 : 2, n = factor->rows * factor->cols * width;
        std::byte* moved = device.bytes(n + width * shift) + width * shift;
        const TestFactor& host = factor == &product.down ? fixture.down : fixture.up;
        device.backend().upload(host.view().data, moved, static_cast<uint64_t>(n));
        factor->data = moved;
      }
      device.backend().add_lora({&product, 1}, device.matrix(fixture.in, 11));
      return device.read(out);
    };
    const Floats together = run_shifted(0);
    EXPECT(test::same_bits(run_shifted(1), together));
    double worst = 0;
    for (int64_t col = 0; col < 516; ++col) {
      const double got = together[static_cast<size_t>(10 * 516 + col)];
      worst = std::max(worst, std::abs(got - fixture.expected(10, col, true)));
    }
    EXPECT(worst <= 4e-6 * std::sqrt(13 * 3208.0));
    fixture.rows = {10};
    const Floats alone = run_shifted(0);
    EXPECT(std::memcmp(&alone[10 * 516], &together[10 * 516], 516 * sizeof(float)) == 0);
  }
}

namespace {

// A mixture of experts with adapters whose rows overlap, on any backend.
Floats mix_with_adapters(Backend& b, int64_t n_rows, std::span<const ExpertLora> lora) {
  constexpr int64_t kExperts = 5, kUsed = 2, kEmbed = 64, kWidth = 32;
  std::list<std::unique_ptr<Buffer>> buffers;
  std::vector<std::unique_ptr<Weight>> weights;
  const auto matrix = [&](int64_t rows, int64_t cols, unsigned seed) {
    buffers.push_back(b.allocate(static_cast<uint64_t>(rows * cols) * 4));
    const Matrix m{reinterpret_cast<float*>(buffers.back()->data()), rows, cols};
    const Floats values = test::normal_values(rows * cols, seed);
    b.upload(values.data(), m.data, values.size() * 4);
    return m;
  };
  const auto bank_of = [&](int64_t rows, int64_t cols, unsigned seed) {
    const Floats values = test::normal_values(kExperts * rows * cols, seed, 0.2f);
    const auto bytes = std::as_bytes(std::span(values));
    weights.push_back(b.load_weight({DType::kF32, kExperts * rows, cols, bytes, nullptr}));
    return weights.back().get();
  };
  const ExpertBank bank{bank_of(kWidth, kEmbed, 1), bank_of(kWidth, kEmbed, 2),
                        bank_of(kEmbed, kWidth, 3), kExperts, lora};
  const int64_t n = n_rows * kUsed;
  const Matrix ids = matrix(n_rows, kUsed, 4), shares = matrix(n_rows, kUsed, 5);
  const Routing routing{reinterpret_cast<int32_t*>(ids.data), shares.data, kUsed};
  const Matrix out = matrix(n_rows, kEmbed, 6);
  b.route(matrix(n_rows, kExperts, 7), true, routing);
  b.experts(
      bank, Activation::kSilu, matrix(n_rows, kEmbed, 8), routing,
      {matrix(n, kEmbed, 9), matrix(n, kEmbed, 9), matrix(n, kWidth, 9), matrix(n, kWidth, 9)},
      out);
  Floats values(static_cast<size_t>(n_rows * kEmbed));
  b.download(out.data, values.data(), values.size() * 4);
  return values;
}

// The adapters of expert `i % 5`'s part `i % 3`, each for some of the rows.
std::vector<Fixture> expert_fixtures(int64_t n_rows) {
  std::vector<Fixture> fixtures;
  for (int i = 0; i < 12; ++i) {
    const bool is_down = i % 3 == 2;
    fixtures.emplace_back(LoraCase{i % 2 ? DType::kF16 : DType::kF32, i % 7, is_down ? 32 : 64,
                                   is_down ? 64 : 32, n_rows});
    std::erase_if(fixtures.back().rows, [&](int32_t row) { return (row + i) % (2 + i / 5) == 0; });
  }
  return fixtures;
}

}  // namespace

TEST(adapters_of_single_experts_give_what_the_cpu_gives) {
  const auto cpu = make_cpu_backend(1);
  for (const int64_t n_rows : {1, 6, 50}) {
    std::vector<Fixture> fixtures = expert_fixtures(n_rows);
    Products device;
    Floats unused(static_cast<size_t>(n_rows * 64));
    std::vector<ExpertLora> on_cpu, on_gpu;
    for (int i = 0; i < 12; ++i) {
      Fixture& fixture = fixtures[static_cast<size_t>(i)];
      const LoraProduct product = fixture.product(unused, i % 2 == 0);
      on_cpu.push_back({i % 5, static_cast<ExpertPart>(i % 3), product});
      on_gpu.push_back(
          {i % 5, static_cast<ExpertPart>(i % 3), device.on_device(fixture, product, {})});
    }
    const Floats expected = mix_with_adapters(*cpu, n_rows, on_cpu);
    EXPECT(!test::same_bits(expected, mix_with_adapters(*cpu, n_rows, {})));
    EXPECT(test::relative_error(mix_with_adapters(device.backend(), n_rows, on_gpu),
                                test::Doubles(expected.begin(), expected.end())) < 3e-6);
  }
}

TEST(models_with_adapters_of_experts_give_the_logits_of_the_cpu) {
  // With more tokens two experts are so near that the rounding of many rows swaps them.
  expect_adapted_like_the_cpu("mixtral-8-experts", "mixtral-experts", 9);
  expect_adapted_like_the_cpu("qwen2moe-ties", "qwen2moe-experts", 9);
}
