// What adapters add to products: against sums in double, the same bits at every level of the
// processor, for rows in any company and any number of threads.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <vector>

#include "backend/backend.h"
#include "backend/registry.h"
#include "base/cpu_features.h"
#include "cpp/harness.h"
#include "cpp/lora_products.h"

using namespace realm;
using test::Fixture;
using test::kCases;
using test::same_bits;
using test::TestFactor;
using Case = test::LoraCase;

namespace {

std::unique_ptr<Backend> backend_at(CpuLevel level, int n_threads) {
  ::setenv("REALM_CPU_ISA", cpu_level_name(level), 1);
  auto backend = make_cpu_backend(n_threads);
  ::unsetenv("REALM_CPU_ISA");
  return backend;
}

std::vector<float> run(Fixture& fixture, Backend& backend, bool is_full) {
  std::vector<float> result = fixture.out;
  const LoraProduct product = fixture.product(result, is_full);
  backend.add_lora({&product, 1}, fixture.input());
  return result;
}

}  // namespace

TEST(additions_are_those_of_sums_in_double) {
  for (const Case& shape : kCases) {
    for (const bool is_full : {false, true}) {
      Fixture fixture(shape);
      const auto result = run(fixture, *backend_at(supported_cpu_levels().back(), 2), is_full);
      double worst = 0;
      for (int64_t row = 0; row < shape.n_rows; ++row) {
        for (int64_t col = 0; col < shape.n_out; ++col) {
          const float got = result[static_cast<size_t>(row * shape.n_out + col)];
          worst = std::max(worst, std::abs(got - fixture.expected(row, col, is_full)));
          EXPECT(std::isfinite(got));
        }
      }
      const double size = std::sqrt(static_cast<double>(shape.rank * shape.n_in));
      EXPECT(worst <= 4e-6 * (1 + size));
      EXPECT(!same_bits(result, fixture.out));
    }
  }
}

TEST(every_level_and_number_of_threads_gives_the_same_bits) {
  for (const Case& shape : kCases) {
    for (const bool is_full : {false, true}) {
      Fixture fixture(shape);
      const auto reference = run(fixture, *backend_at(CpuLevel::kBaseline, 1), is_full);
      for (const CpuLevel level : supported_cpu_levels()) {
        for (const int n_threads : {1, 2, 5}) {
          EXPECT(same_bits(run(fixture, *backend_at(level, n_threads), is_full), reference));
        }
      }
    }
  }
}

TEST(a_row_has_the_same_bits_in_any_company) {
  Fixture fixture({DType::kF16, 16, 300, 200, 45});
  const auto backend = make_cpu_backend(2);
  const auto together = run(fixture, *backend, true);
  for (const int32_t row : {0, 1, 7, 31, 32, 44}) {
    fixture.rows = {row};
    const auto alone = run(fixture, *backend, true);
    const auto begin = static_cast<size_t>(row) * 200;
    EXPECT(std::memcmp(&alone[begin], &together[begin], 200 * sizeof(float)) == 0);
    EXPECT(std::memcmp(&alone[(begin + 200) % alone.size()],
                       &fixture.out[(begin + 200) % alone.size()], 200 * sizeof(float)) == 0);
  }
}

TEST(products_of_one_output_are_added_in_their_order) {
  Fixture first({DType::kF32, 4, 64, 600, 6}), second({DType::kF16, 9, 64, 600, 6});
  const std::vector<int32_t> all = first.rows;
  const std::vector<int32_t> of_first[] = {all, {4, 5}}, of_second[] = {{1, 4}, {0, 4}};
  for (const int n_threads : {1, 2}) {
    const auto backend = make_cpu_backend(n_threads);
    for (size_t i = 0; i < 2; ++i) {
      first.rows = of_first[i];
      second.rows = of_second[i];
      std::vector<float> both = first.out, one_by_one = first.out;
      const LoraProduct products[] = {first.product(both, false), second.product(both, true)};
      backend->add_lora(products, first.input());
      const LoraProduct a = first.product(one_by_one, false), b = second.product(one_by_one, true);
      backend->add_lora({&a, 1}, first.input());
      backend->add_lora({&b, 1}, first.input());
      EXPECT(same_bits(both, one_by_one));
    }
  }
}

// Each row has one or two adapters of its own, or none, over two outputs of one input.
TEST(rows_with_adapters_of_their_own_are_what_each_is_alone) {
  const std::vector<std::vector<int32_t>> rows_of = {{0}, {0}, {1, 2}, {4}, {5, 6, 7, 8}};
  std::vector<Fixture> fixtures;
  for (size_t i = 0; i < rows_of.size(); ++i) {
    fixtures.emplace_back(
        Case{i % 2 == 0 ? DType::kF16 : DType::kF32, static_cast<int64_t>(3 * i), 100, 2100, 9});
    fixtures.back().rows = rows_of[i];
  }
  const auto outputs = [&](int n_threads, bool is_together) {
    const auto backend = make_cpu_backend(n_threads);
    std::vector<float> first = fixtures[0].out, second = fixtures[1].out;
    std::vector<LoraProduct> products;
    for (auto* out : {&first, &second}) {
      for (Fixture& fixture : fixtures)
        products.push_back(fixture.product(*out, &fixture.rows == &fixtures[2].rows));
    }
    if (is_together) {
      backend->add_lora(products, fixtures[0].input());
    } else {
      for (const LoraProduct& one : products) backend->add_lora({&one, 1}, fixtures[0].input());
    }
    first.insert(first.end(), second.begin(), second.end());
    return first;
  };
  const auto alone = outputs(5, false);
  for (const int n_threads : {1, 2, 3, 20}) EXPECT(same_bits(outputs(n_threads, true), alone));
  EXPECT(std::memcmp(&alone[3 * 2100], &fixtures[0].out[3 * 2100], 2100 * sizeof(float)) == 0);
}

TEST(parts_of_a_fused_matrix_share_their_coefficients) {
  Fixture fixture({DType::kF16, 8, 64, 96, 5});
  const auto backend = make_cpu_backend(1);
  const auto whole = run(fixture, *backend, false);
  std::vector<float> left(5 * 32), right(5 * 64);
  for (size_t row = 0; row < 5; ++row) {
    std::copy_n(&fixture.out[row * 96], 32, &left[row * 32]);
    std::copy_n(&fixture.out[row * 96 + 32], 64, &right[row * 64]);
  }
  LoraProduct parts[2] = {fixture.product(left, false), fixture.product(right, false)};
  parts[0].out = {left.data(), 5, 32};
  parts[0].up.cols = 32;
  parts[1].out = {right.data(), 5, 64};
  parts[1].up.cols = 64;
  parts[1].up.data += 32 * sizeof(uint16_t);
  backend->add_lora(parts, fixture.input());
  for (size_t row = 0; row < 5; ++row) {
    EXPECT(std::memcmp(&whole[row * 96], &left[row * 32], 32 * sizeof(float)) == 0);
    EXPECT(std::memcmp(&whole[row * 96 + 32], &right[row * 64], 64 * sizeof(float)) == 0);
  }
}

TEST(lookups_take_the_row_of_each_token) {
  Fixture fixture({DType::kBF16, 6, 16, 48, 4});
  const TestFactor table(DType::kF16, 20, 6, 9);
  const std::vector<int32_t> tokens = {3, 19, 0, 3};
  std::vector<float> result = fixture.out;
  LoraProduct product = fixture.product(result, false);
  product.down = table.view();
  make_cpu_backend(1)->add_lora_rows({&product, 1}, tokens);
  for (int64_t row = 0; row < 4; ++row) {
    for (int64_t col = 0; col < 48; ++col) {
      double sum = fixture.out[static_cast<size_t>(row * 48 + col)];
      for (int64_t j = 0; j < 6; ++j) {
        sum += 0.75 * table.at(tokens[static_cast<size_t>(row)], j) * fixture.up.at(j, col);
      }
      EXPECT(test::near(result[static_cast<size_t>(row * 48 + col)], sum, 1e-5));
    }
  }
}

TEST(operands_that_do_not_fit_are_refused) {
  Fixture fixture({DType::kF32, 2, 16, 16, 2});
  std::vector<float> result = fixture.out;
  const auto backend = make_cpu_backend(1);
  const auto refuse = [&](const LoraProduct& product) {
    EXPECT_ERROR(kInternal, { backend->add_lora({&product, 1}, fixture.input()); });
  };
  LoraProduct narrow = fixture.product(result, false);
  narrow.up.cols = 15;
  refuse(narrow);
  LoraProduct shallow = fixture.product(result, false);
  shallow.down.cols = 8;
  refuse(shallow);
  fixture.rows = {0, 2};
  refuse(fixture.product(result, false));
}
