// Products and what adapters add to them, at once and one after the other: the same bits on every
// path of the products, for every kind of addition.
#include <numeric>
#include <vector>

#include "cpp/harness.h"
#include "cpp/lora_products.h"
#include "cpp/product_law.h"
#include "cpu/cpu_backend.h"
#include "cpu/dispatch.h"

using namespace realm;
using namespace realm::cpu;

namespace {

using Floats = std::vector<float>;

constexpr int64_t kIn = 512, kFirst = 5, kOut = 200;  // not from a panel's first row on, nor to its
                                                      // last

// Two products of one input, the first with a bias, and additions to both.
struct Group {
  int64_t rows;
  const Format& format;
  std::vector<std::byte> bytes = test::random_weight(format, kFirst + 2 * kOut, kIn, 7);
  Floats in = test::random_floats(static_cast<size_t>(rows * kIn), 1);
  Floats bias = test::random_floats(kOut, 2), gain = test::random_floats(kOut, 3),
         rescale = test::random_floats(kOut, 4), shift = test::random_floats(kOut, 5);
  std::vector<test::TestFactor> downs, ups;
  std::vector<std::vector<int32_t>> rows_of;  // of each adapter

  Group(const char* name, int64_t n, std::vector<std::vector<int32_t>> adapters)
      : rows(n), format(*find_format(name)), rows_of(std::move(adapters)) {
    const DType types[] = {DType::kF16, DType::kF32, DType::kBF16};
    for (size_t i = 0; i < rows_of.size(); ++i) {
      const auto rank = static_cast<int64_t>(4 + 9 * i % 20);
      downs.emplace_back(types[i % 3], rank, kIn, static_cast<uint32_t>(10 + i));
      ups.emplace_back(types[i % 3], rank, 2 * kOut, static_cast<uint32_t>(30 + i));
    }
  }

  // The output's columns of up lie beside the other's, as in a fused matrix.
  LoraProduct addition(size_t adapter, int64_t output, Matrix out) const {
    LoraProduct one;
    one.down = downs[adapter].view();
    one.up = ups[adapter].view();
    one.up.cols = kOut;
    one.up.data += output * kOut * (one.up.dtype == DType::kF32 ? 4 : 2);
    one.scale = 0.75f;
    one.rows = rows_of[adapter];
    one.out = out;
    if (adapter % 2 == 0) return one;
    one.gain = {gain.data(), kOut};
    one.rescale = {rescale.data(), kOut};
    one.shift = {shift.data(), kOut};
    one.shift_scale = -0.5f;
    if (output == 0) one.bias = {bias.data(), kOut};
    return one;
  }

  Floats outputs(CpuBackend& backend, const Weight& weight, bool at_once) {
    Floats out(static_cast<size_t>(2 * rows * kOut));
    const Matrix x{in.data(), rows, kIn};
    const Matrix outs[] = {{out.data(), rows, kOut}, {out.data() + rows * kOut, rows, kOut}};
    const Product products[] = {{{weight, kFirst, kOut}, {bias.data(), kOut}, outs[0]},
                                {{weight, kFirst + kOut, kOut}, {}, outs[1]}};
    std::vector<LoraProduct> additions;
    for (int64_t output = 0; output < 2; ++output) {
      for (size_t i = 0; i < rows_of.size(); ++i)
        additions.push_back(addition(i, output, outs[output]));
    }
    if (at_once) {
      backend.linear_with_lora(products, additions, x);
    } else {
      backend.linear(products, x);
      backend.add_lora(additions, x);
    }
    return out;
  }
};

std::vector<int32_t> count_to(int32_t n) {
  std::vector<int32_t> rows(static_cast<size_t>(n));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

void expect_same(Group group, CpuLevel level, bool in_place, int threads,
                 ActivationKind kind = ActivationKind::kInt8) {
  const auto owner = in_place ? std::make_shared<int>(0) : nullptr;
  const auto run = [&](int n_threads, bool at_once) {
    CpuBackend backend(kernels_for(level), panel_kernels_for(level), ThreadPool::shared(n_threads),
                       kind);
    const auto weight =
        backend.load_weight({group.format.dtype, kFirst + 2 * kOut, kIn, group.bytes, owner});
    return group.outputs(backend, *weight, at_once);
  };
  const Floats expected = run(1, false);
  if (!test::same_bits(run(threads, true), expected)) {
    test::report_failure(__FILE__, __LINE__,
                         concat(group.format.name, " at ", cpu_level_name(level), ", ", group.rows,
                                " rows, ", threads, " threads"));
  }
}

}  // namespace

TEST(additions_at_once_have_the_bits_of_those_that_come_after) {
  for (const char* format : {"Q4_K", "Q6_K", "Q8_0", "F16", "IQ2_XS"}) {
    for (const CpuLevel level : supported_cpu_levels()) {
      for (const bool in_place : {false, true}) {
        expect_same({format, 1, {{0}}}, level, in_place, 1);
        expect_same({format, 7, {{0, 3, 4}, {1}, {2, 3, 6}}}, level, in_place, 2);
        expect_same({format, 45, {count_to(45), {0, 31, 32, 44}}}, level, in_place, 2);
      }
    }
  }
}

TEST(many_rows_of_an_adapter_get_its_additions_before_they_are_written) {
  for (const auto& [rows, is_at_once] : {std::pair{8, false}, {9, true}, {40, true}}) {
    Group group("Q4_K", rows, {count_to(rows)});
    CpuBackend backend(kernels_for(CpuLevel::kBaseline), panel_kernels_for(CpuLevel::kBaseline),
                       ThreadPool::shared(2), ActivationKind::kInt8);
    const auto weight =
        backend.load_weight({group.format.dtype, kFirst + 2 * kOut, kIn, group.bytes, nullptr});
    group.outputs(backend, *weight, true);
    uint64_t added = 0;
    for (const auto& [path, n] : backend.path_counts()) added += path == "added" ? n : 0;
    EXPECT_EQ(added > 0, is_at_once);
  }
}

// Outputs of large weights go past the caches, but not those that get additions next.
TEST(outputs_of_few_rows_stay_where_additions_find_them) {
  const Format& format = *find_format("Q4_K");
  constexpr int64_t kWide = 2048, kDepth = 1024, kRows = 4;
  const auto bytes = test::random_weight(format, kWide, kDepth, 3);
  const test::TestFactor down(DType::kF16, 8, kDepth, 4), up(DType::kF16, 8, kWide, 5);
  Floats in = test::random_floats(kRows * kDepth, 6);
  const auto run = [&](bool at_once, Floats& out) {
    CpuBackend backend(kernels_for(CpuLevel::kBaseline), panel_kernels_for(CpuLevel::kBaseline),
                       ThreadPool::shared(2), ActivationKind::kInt8);
    const auto weight = backend.load_weight({format.dtype, kWide, kDepth, bytes, nullptr});
    out.assign(kRows * kWide, 0);
    const Matrix x{in.data(), kRows, kDepth}, y{out.data(), kRows, kWide};
    const Product product{{*weight, 0, kWide}, {}, y};
    const auto rows = count_to(kRows);
    LoraProduct addition;
    addition.down = down.view();
    addition.up = up.view();
    addition.rows = rows;
    addition.out = y;
    if (at_once) {
      backend.linear_with_lora({&product, 1}, {&addition, 1}, x);
    } else {
      backend.linear({&product, 1}, x);
      backend.add_lora({&addition, 1}, x);
    }
    for (const auto& [path, n] : backend.path_counts()) {
      if (path == "streamed") return n;
    }
    return uint64_t{0};
  };
  Floats at_once, after;
  EXPECT(run(false, after) > 0);
  EXPECT_EQ(run(true, at_once), uint64_t{0});
  EXPECT(test::same_bits(at_once, after));
}

TEST(rows_of_their_own_adapters_get_them_on_any_number_of_threads) {
  for (const int threads : {1, 2, 5}) {
    for (const char* format : {"Q4_K", "BF16"}) {
      expect_same({format, 8, {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}}},
                  supported_cpu_levels().back(), false, threads);
    }
  }
}

TEST(many_rows_get_their_additions_in_every_sweep) {
  for (const int threads : {1, 2}) {
    std::vector<int32_t> odd;
    for (int32_t row = 1; row < 1300; row += 2) odd.push_back(row);
    expect_same({"Q4_K", 1300, {count_to(1300), odd}}, supported_cpu_levels().back(), false,
                threads);
  }
}

TEST(products_with_f32_activations_get_the_same_additions) {
  expect_same({"Q4_K", 9, {count_to(9), {2, 8}}}, supported_cpu_levels().back(), true, 2,
              ActivationKind::kF32);
}

TEST(additions_to_what_is_no_output_are_refused) {
  Group group("Q4_K", 2, {{0}});
  CpuBackend backend(kernels_for(CpuLevel::kBaseline), panel_kernels_for(CpuLevel::kBaseline),
                     ThreadPool::shared(1), ActivationKind::kInt8);
  const auto weight =
      backend.load_weight({group.format.dtype, kFirst + 2 * kOut, kIn, group.bytes, nullptr});
  Floats out(2 * kOut), other(2 * kOut);
  const Product product{{*weight, 0, kOut}, {}, {out.data(), 2, kOut}};
  const LoraProduct addition = group.addition(0, 0, {other.data(), 2, kOut});
  EXPECT_ERROR(kInternal, {
    backend.linear_with_lora({&product, 1}, {&addition, 1}, {group.in.data(), 2, kIn});
  });
}
