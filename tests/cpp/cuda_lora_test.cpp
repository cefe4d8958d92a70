// The adapters of gpu_lora.inc on the emulated CUDA device.
#include <map>

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

std::map<std::string, uint64_t> counts_of(const Backend& backend) {
  const auto counts = backend.path_counts();
  return {counts.begin(), counts.end()};
}

}  // namespace

// Of a kept step the grids are those of rounded numbers: the one that is captured has small ranks.
TEST(what_a_kept_step_adds_has_the_bits_of_an_issued_one_whatever_the_ranks_types_and_rows) {
  constexpr int64_t kIn = 100, kOut = 300, kRows = 11;
  Products device;
  const auto recorder = device.backend().make_step_recorder();
  const auto in = device.matrix(Fixture({DType::kF32, 1, kIn, kOut, kRows}).in, kRows);
  const Matrix out = device.matrix(Floats(kRows * kOut), kRows);
  const std::vector<int32_t> tokens(kRows, 1);
  std::mt19937 random(7);
  for (uint64_t i = 0; i < 24; ++i) {
    const DType types[] = {DType::kF16, DType::kBF16, DType::kF32};
    const unsigned most = i < 2 ? 3 : 16;
    std::vector<Fixture> fixtures;
    for (int n = 0; n < 2; ++n) {
      const auto rank = static_cast<int64_t>(1 + random() % most);
      fixtures.emplace_back(LoraCase{types[random() % 3], rank, kIn, kOut, kRows});
      std::erase_if(fixtures.back().rows,
                    [&](int32_t row) { return row > 1 && random() % 2 == 0; });
    }
    std::vector<LoraProduct> products;
    Floats unused(kRows * kOut);
    for (Fixture& one : fixtures)
      products.push_back(device.on_device(one, one.product(unused, random() % 2 == 0), out));
    const auto add = [&] { device.backend().add_lora(products, in); };
    const auto result_of = [&](const std::function<void()>& run) {
      device.backend().upload(fixtures[0].out.data(), out.data, fixtures[0].out.size() * 4);
      run();
      return device.read(out);
    };
    // The issued one comes second, so that the kept one finds none of its coefficients in memory.
    const Floats kept =
        result_of([&] { recorder->run({tokens, {}, {}, {}}, {}, {{&i, 1}, {}}, add); });
    EXPECT(!test::same_bits(kept, fixtures[0].out));
    EXPECT(test::same_bits(kept, result_of(add)));
  }
  auto counts = counts_of(device.backend());
  EXPECT_EQ(counts["steps captured"], 1u);
  EXPECT_EQ(counts["steps replayed"], 23u);
}

TEST(a_step_whose_adapters_take_too_much_memory_is_issued) {
  Products device;
  const Matrix in = device.matrix(Floats(16), 1), out = device.matrix(Floats(16), 1);
  const std::vector<int32_t> tokens{1}, row{0};
  LoraProduct product;
  product.shift = {device.matrix(Floats(16), 1).data, 16};
  product.rows = row;
  product.out = out;
  const auto recorder = device.backend().make_step_recorder();
  const auto run = [&](size_t n_products, uint64_t adapter) {
    const std::vector<LoraProduct> products(n_products, product);
    for (int i = 0; i < 3; ++i) {
      recorder->run({tokens, {}, {}, {}}, {}, {{&adapter, 1}, {}},
                    [&] { device.backend().add_lora(products, in); });
    }
  };
  run(140000, 1);
  EXPECT_EQ(counts_of(device.backend())["steps issued"], 3u);
  run(60000, 2);
  EXPECT_EQ(counts_of(device.backend())["steps issued"], 4u);
  EXPECT_EQ(counts_of(device.backend())["steps captured"], 1u);
}

TEST(steps_whose_adapters_add_at_another_op_do_not_share_what_is_kept) {
  Products device;
  Fixture fixture({DType::kF32, 4, 16, 16, 1});
  Floats unused = fixture.out;
  const Matrix in = device.matrix(fixture.in, 1), out = device.matrix(fixture.out, 1);
  const LoraProduct product = device.on_device(fixture, fixture.product(unused, false), out);
  const auto recorder = device.backend().make_step_recorder();
  const std::vector<int32_t> tokens{1};
  Floats results[2];
  for (int i = 0; i < 6; ++i) {
    const uint64_t adapter = i % 2;
    device.backend().upload(fixture.out.data(), out.data, fixture.out.size() * sizeof(float));
    recorder->run({tokens, {}, {}, {}}, {}, {{&adapter, 1}, {}}, [&] {
      if (adapter == 0) device.backend().add_lora({&product, 1}, in);
      device.backend().scale(out, 2.0f);
      if (adapter == 1) device.backend().add_lora({&product, 1}, in);
    });
    if (i < 2) results[i] = device.read(out);
    EXPECT(test::same_bits(device.read(out), results[adapter]));
  }
  EXPECT(!test::same_bits(results[0], results[1]));
  EXPECT_EQ(counts_of(device.backend())["steps captured"], 2u);
}
