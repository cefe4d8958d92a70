// Matrix products of the CPU backend: every weight format, at every level, on every path, packed
// and in the file's layout, has the bits of the law (product_law.h); and the law is near the truth.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "cpp/harness.h"
#include "cpp/product_law.h"
#include "cpu/cpu_backend.h"
#include "cpu/dispatch.h"
#include "cpu/read_ahead.h"
#include "cpu/weight.h"

using namespace realm;
using namespace realm::cpu;

namespace {

using Floats = std::vector<float>;
using Bytes = std::vector<std::byte>;

constexpr int64_t kRows = 53;  // three panels together, one by itself, which is not full
constexpr int64_t kInputs = 33;
constexpr int64_t kRowCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 18, 19, 23, 33};

Floats random_floats(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Floats values(n);
  for (float& value : values) value = normal(random);
  return values;
}

// Not whole groups of blocks: an odd superblock; a part of our block of 256.
int64_t cols_of(const Format& format) {
  if (format.block_elements == 256) return 3 * 256;
  return format.block_elements == 1 ? 300 : 19 * 64;
}

CpuBackend backend_at(CpuLevel level, int threads = 1,
                      ActivationKind kind = ActivationKind::kInt8) {
  return CpuBackend(kernels_for(level), panel_kernels_for(level), ThreadPool::shared(threads),
                    kind);
}

// A weight, and what it gives by the law for kInputs rows, one of which is zero.
struct Case {
  const Format& format;
  int64_t cols = cols_of(format);
  Bytes bytes = test::random_weight(format, kRows, cols, 7);
  Floats x = random_floats(static_cast<size_t>(kInputs * cols), 8);
  Floats expected;

  explicit Case(const Format& f) : format(f) {
    std::fill_n(x.begin() + 4 * cols, cols, 0.0f);
    expected = test::product_by_the_law(format, bytes, kRows, cols, x);
  }
  std::unique_ptr<Weight> load(CpuBackend& backend, bool in_place) const {
    const auto owner = in_place ? std::make_shared<int>(0) : nullptr;  // outlived by this case
    return backend.load_weight({format.dtype, kRows, cols, bytes, owner});
  }
};

Floats multiply(Backend& backend, WeightRows weight, const Floats& x, int64_t rows, int64_t cols,
                const Floats& bias = {}) {
  Floats in(x.begin(), x.begin() + rows * cols);
  Floats out(static_cast<size_t>(rows * weight.n_rows), std::numeric_limits<float>::quiet_NaN());
  const Product product{weight,
                        {bias.empty() ? nullptr : bias.data(), static_cast<int64_t>(bias.size())},
                        {out.data(), rows, weight.n_rows}};
  backend.linear({&product, 1}, {in.data(), rows, cols});
  return out;
}

bool same_bits(const Floats& a, const float* b) {
  return std::memcmp(a.data(), b, a.size() * sizeof(float)) == 0;
}

uint64_t count(const Backend& backend, std::string_view path) {
  for (const auto& [name, n] : backend.path_counts()) {
    if (name == path) return n;
  }
  return 0;
}

// Compares some first rows with the law at one level; reports the first that differ.
void expect_law(const Case& one, CpuLevel level, bool in_place, int threads) {
  CpuBackend backend = backend_at(level, threads);
  const auto weight = one.load(backend, in_place);
  for (const int64_t rows : kRowCounts) {
    const Floats out = multiply(backend, *weight, one.x, rows, one.cols);
    if (same_bits(out, one.expected.data())) continue;
    size_t at = 0;
    while (std::memcmp(&out[at], &one.expected[at], 4) == 0) ++at;
    test::report_failure(
        __FILE__, __LINE__,
        concat(one.format.name, " at ", cpu_level_name(level), in_place ? ", mapped, " : ", ", rows,
               " rows: element ", at, " is ", out[at], ", not ", one.expected[at]));
    return;
  }
}

}  // namespace

TEST(every_format_at_every_level_and_number_of_rows_has_the_bits_of_the_law) {
  for (const Format& format : all_formats()) {
    const Case one(format);
    for (const CpuLevel level : supported_cpu_levels()) expect_law(one, level, false, 1);
  }
}

TEST(weights_in_the_files_layout_have_the_bits_of_the_law) {
  for (const Format& format : all_formats()) {
    const Case one(format);
    for (const CpuLevel level : supported_cpu_levels()) expect_law(one, level, true, 1);
  }
}

TEST(threads_change_no_bit) {
  for (const char* name : {"Q4_K", "Q6_K", "Q8_0", "IQ2_XS", "F16"}) {
    const Case one(*find_format(name));
    for (const int threads : {2, 3}) expect_law(one, supported_cpu_levels().back(), false, threads);
  }
}

TEST(many_rows_have_the_bits_of_few) {
  for (const char* name : {"Q4_K", "Q5_0", "Q4_1", "Q2_K", "BF16"}) {
    const Case one(*find_format(name));
    Floats x, expected;
    for (int i = 0; i < 512; ++i) {
      const auto row = i * 5 % kInputs;
      x.insert(x.end(), one.x.begin() + row * one.cols, one.x.begin() + (row + 1) * one.cols);
      expected.insert(expected.end(), one.expected.begin() + row * kRows,
                      one.expected.begin() + (row + 1) * kRows);
    }
    CpuBackend backend = backend_at(supported_cpu_levels().back(), 2);
    const Floats out = multiply(backend, *one.load(backend, false), x, 512, one.cols);
    EXPECT(same_bits(out, expected.data()));
  }
}

// So many that activations are gone over in sweeps, blocks in runs and panels in stretches.
TEST(sweeps_of_rows_and_runs_of_blocks_change_no_bit) {
  constexpr int64_t kWide = 272, kDeep = 9 * 256, kManyRows = 1100, kFew = 4;
  const Floats x = random_floats(kManyRows * kDeep, 9);
  for (const char* name : {"Q4_K", "Q6_K", "Q8_0"}) {
    const Format& format = *find_format(name);
    const Bytes bytes = test::random_weight(format, kWide, kDeep, 10);
    CpuBackend backend = backend_at(supported_cpu_levels().back(), 2);
    const auto weight = backend.load_weight({format.dtype, kWide, kDeep, bytes, nullptr});
    const Floats many = multiply(backend, *weight, x, kManyRows, kDeep);
    for (int64_t row = 0; row < kManyRows; row += kFew) {
      const Floats few(x.begin() + row * kDeep, x.begin() + (row + kFew) * kDeep);
      const Floats out = multiply(backend, *weight, few, kFew, kDeep);
      EXPECT(same_bits(out, many.data() + row * kWide));
    }
  }
}

TEST(packed_weights_decode_to_the_formats_values) {
  for (const Format& format : all_formats()) {
    const Case one(format);
    CpuBackend backend = backend_at(supported_cpu_levels().back());
    const auto weight = one.load(backend, false);
    Floats ours(static_cast<size_t>(kRows * one.cols)), truth(ours.size());
    backend.decode_rows(*weight, 0, kRows, ours.data());
    decode(format, one.bytes.data(), truth.data(), truth.size());
    const bool same = same_bits(ours, truth.data());
    if (!same) test::report_failure(__FILE__, __LINE__, concat(format.name, " decodes otherwise"));
    Floats row(static_cast<size_t>(one.cols));
    const int32_t last = kRows - 1;
    backend.embed(*weight, {&last, 1}, 1.0f, {row.data(), 1, one.cols});
    EXPECT(same_bits(row, truth.data() + last * one.cols));
  }
}

// Rounding activations to 127 steps costs some 0.4 % of their size; with a random sign, a
// thousandth of the sum of magnitudes.
TEST(products_are_near_the_truth) {
  for (const Format& format : all_formats()) {
    const Case one(format);
    std::vector<double> magnitude;
    const std::vector<double> truth =
        test::product_in_double(format, one.bytes, kRows, one.cols, one.x, &magnitude);
    double worst = 0, squares = 0, errors = 0;
    for (size_t i = 0; i < truth.size(); ++i) {
      const double error = std::abs(one.expected[i] - truth[i]);
      if (magnitude[i] > 0) worst = std::max(worst, error / magnitude[i]);
      errors += error * error;
      squares += truth[i] * truth[i];
    }
    const bool exact = format.block_elements == 1;
    EXPECT(worst < (exact ? 1e-6 : 2.5e-3));
    EXPECT(errors / squares < (exact ? 1e-12 : 3e-4));
  }
}

TEST(row_ranges_of_a_bank_and_biases_are_exact) {
  for (const char* name : {"Q4_K", "Q8_0", "IQ3_S", "F32"}) {
    const Case one(*find_format(name));
    const Floats bias = random_floats(17, 3);
    for (const CpuLevel level : supported_cpu_levels()) {
      CpuBackend backend = backend_at(level);
      const auto weight = one.load(backend, false);
      for (const int64_t rows : {1, 20}) {
        const Floats out = multiply(backend, {*weight, 21, 17}, one.x, rows, one.cols, bias);
        for (int64_t m = 0; m < rows; ++m) {
          for (int64_t n = 0; n < 17; ++n) {
            const float plain = one.expected[static_cast<size_t>(m * kRows + 21 + n)];
            EXPECT_EQ(out[static_cast<size_t>(m * 17 + n)], plain + bias[static_cast<size_t>(n)]);
          }
        }
      }
    }
  }
}

TEST(products_together_are_the_products_one_by_one) {
  const Case a(*find_format("Q4_K")), b(*find_format("Q6_K"));
  CpuBackend backend = backend_at(supported_cpu_levels().back(), 2);
  const auto q8 = test::random_weight(*find_format("Q8_0"), kRows, a.cols, 1);
  const std::unique_ptr<Weight> weights[] = {
      a.load(backend, false), b.load(backend, false),
      backend.load_weight({DType::kQ8_0, kRows, a.cols, q8, nullptr})};
  for (const int64_t rows : {1, 33}) {
    Floats outs[3];
    std::vector<Product> products;
    for (int i = 0; i < 3; ++i) {
      outs[i].resize(static_cast<size_t>(rows * kRows));
      products.push_back({*weights[i], {}, {outs[i].data(), rows, kRows}});
    }
    Floats x = a.x;
    backend.linear(products, {x.data(), rows, a.cols});
    for (int i = 0; i < 3; ++i) {
      EXPECT(same_bits(outs[i], multiply(backend, *weights[i], x, rows, a.cols).data()));
    }
  }
}

TEST(outputs_past_the_caches_have_the_bits_of_others) {
  const Format& format = *find_format("Q4_K");
  constexpr int64_t kWide = 2053, kCols = 1024, kMost = 9;  // more than a megabyte
  const Bytes bytes = test::random_weight(format, kWide, kCols, 3);
  const Floats x = random_floats(kMost * kCols, 4), bias = random_floats(kWide, 5);
  for (const CpuLevel level : supported_cpu_levels()) {
    CpuBackend backend = backend_at(level, 2);
    const auto weight = backend.load_weight({format.dtype, kWide, kCols, bytes, nullptr});
    const Floats all = multiply(backend, *weight, x, kMost, kCols);
    EXPECT_EQ(count(backend, "streamed"), 0u);
    struct Place {
      int64_t first, n;  // rows of the weight
      bool has_bias;
    };
    for (const Place place : {Place{0, 2048, false},
                              {5, 2048, false},
                              {0, kWide, false},
                              {0, 2048, true},
                              {16, 2032, false}}) {  // lines whole or not
      for (const int64_t rows : {2, 3, 8}) {
        std::vector<CacheLine> out(static_cast<size_t>(rows * place.n / kLanes + 1));
        Floats in(x.begin(), x.begin() + rows * kCols);
        const Vector added{place.has_bias ? bias.data() : nullptr, place.has_bias ? place.n : 0};
        const Product product{
            {*weight, place.first, place.n}, added, {out[0].floats, rows, place.n}};
        const uint64_t before = count(backend, "streamed");
        backend.linear({&product, 1}, {in.data(), rows, kCols});
        EXPECT(count(backend, "streamed") > before);
        for (int64_t i = 0; i < rows * place.n; ++i) {
          const float plain =
              all[static_cast<size_t>(i / place.n * kWide + place.first + i % place.n)];
          const float expected =
              place.has_bias ? plain + bias[static_cast<size_t>(i % place.n)] : plain;
          if (out[0].floats[i] != expected) EXPECT_EQ(out[0].floats[i], expected);
        }
      }
    }
  }
}

TEST(numbers_that_are_none_reach_every_output_of_their_row_and_no_other) {
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(),
                       -std::numeric_limits<float>::infinity()};
  for (const Format& format : all_formats()) {
    Case one(format);
    for (const CpuLevel level : supported_cpu_levels()) {
      CpuBackend backend = backend_at(level);
      const auto weight = one.load(backend, false);
      for (const int64_t rows : {3, 19}) {
        Floats x = one.x;
        x[static_cast<size_t>(one.cols + 1)] = bad[rows == 3];
        const Floats out = multiply(backend, *weight, x, rows, one.cols);
        for (int64_t n = 0; n < kRows; ++n) {
          EXPECT(!std::isfinite(out[static_cast<size_t>(kRows + n)]));
          EXPECT(std::isfinite(out[static_cast<size_t>(n)]));
          EXPECT(std::isfinite(out[static_cast<size_t>(2 * kRows + n)]));
        }
      }
    }
  }
}

TEST(huge_and_tiny_activations_follow_the_law) {
  for (const char* name : {"Q4_0", "Q6_K"}) {
    Case one(*find_format(name));
    for (int64_t k = 0; k < one.cols; ++k) {
      one.x[static_cast<size_t>(k)] *= 1e36f;
      one.x[static_cast<size_t>(one.cols + k)] *= 1e-33f;
      one.x[static_cast<size_t>(2 * one.cols + k)] = k % 2 ? 5.0f : -5.0f;
    }
    one.expected = test::product_by_the_law(one.format, one.bytes, kRows, one.cols, one.x);
    for (const CpuLevel level : supported_cpu_levels()) expect_law(one, level, false, 1);
  }
}

struct Fill {  // of some bytes of every block
  size_t first, n;
  unsigned char value;
};

void fill_blocks(Case& one, std::initializer_list<Fill> fills) {
  for (size_t at = 0; at < one.bytes.size(); at += one.format.block_bytes) {
    for (const Fill& fill : fills) {
      std::fill_n(one.bytes.data() + at + fill.first, fill.n, std::byte{fill.value});
    }
  }
}

// Activations near their largest, under weights that make sums which floats round: integer kernels
// alone would not notice.
void expect_floats_where_they_round(const char* format, std::initializer_list<Fill> fills) {
  Case one(*find_format(format));
  fill_blocks(one, fills);
  for (float& x : one.x) x = 1 - std::abs(x) / 64;
  one.expected = test::product_by_the_law(one.format, one.bytes, kRows, one.cols, one.x);
  const CpuLevel level = supported_cpu_levels().back();
  expect_law(one, level, false, 1);
  CpuBackend backend = backend_at(level);
  const auto weight = one.load(backend, false);
  multiply(backend, *weight, one.x, kInputs, one.cols);
  EXPECT_EQ(count(backend, "integer"), 0u);
  // Sixteen rows are looked at together: others beside them may stay in integers.
  for (auto i = static_cast<size_t>(16 * one.cols); i < one.x.size(); ++i) {
    one.x[i] = i % kBlockValues == 0 ? 1.0f : (one.x[i] - 1) / 4;
  }
  one.expected = test::product_by_the_law(one.format, one.bytes, kRows, one.cols, one.x);
  expect_law(one, level, false, 1);
  multiply(backend, *weight, one.x, kInputs, one.cols);
  const auto expands = panel_kernels_for(level).integer.expand;
  const auto packed = static_cast<int>(*panel_layout(one.format).packed);
  EXPECT(!expands[packed] || count(backend, "integer") > 0);
}

TEST(sums_that_floats_round_are_left_to_tiles_of_floats) {
  expect_floats_where_they_round("Q5_K", {{4, 172, 255}});  // the largest weights and scales
  // Weights of 16, scales of 127: dots of 16 values fit 16 bits, but not by much.
  expect_floats_where_they_round("Q6_K", {{0, 128, 0}, {128, 64, 255}, {192, 16, 127}});
}

// The largest weights under scales of 1, activations that are large in one sub-block alone.
TEST(dots_that_leave_16_bits_are_left_to_tiles_of_floats) {
  for (const char* format : {"Q4_K", "Q6_K"}) {
    Case one(*find_format(format));
    if (one.format.dtype == DType::kQ4_K) {
      fill_blocks(one, {{4, 12, 1}, {16, 128, 255}});
    } else {
      fill_blocks(one, {{0, 192, 255}, {192, 16, 1}});
    }
    for (size_t i = 0; i < one.x.size(); ++i) {
      one.x[i] = i % kBlockValues < 32 ? 1.0f : 0.001f * std::abs(one.x[i]);
    }
    one.expected = test::product_by_the_law(one.format, one.bytes, kRows, one.cols, one.x);
    for (const CpuLevel level : supported_cpu_levels()) expect_law(one, level, false, 1);
  }
}

TEST(the_paths_that_should_run_are_the_paths_that_run) {
  const CpuLevel level = supported_cpu_levels().back();
  const auto run = [&](const char* name, int64_t rows, bool in_place, ActivationKind kind) {
    const Case one(*find_format(name));
    CpuBackend backend = backend_at(level, 1, kind);
    multiply(backend, *one.load(backend, in_place), one.x, rows, one.cols);
    std::set<std::string> ran;
    for (const auto& [path, n] : backend.path_counts()) {
      if (n > 0) ran.insert(path);
    }
    return ran;
  };
  using Paths = std::set<std::string>;
  constexpr auto kInt8 = ActivationKind::kInt8;
  // Four panels: where tiles take three, one is left over.
  const auto slab = static_cast<int>(SlabKind::kFine32);
  const bool takes_three = panel_kernels_for(level).tile[slab][1][3] != nullptr;
  const Paths many = takes_three ? Paths{"slab", "tail"} : Paths{"slab"};
  for (const char* fast : {"Q4_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "Q2_K",
                           "Q3_K", "Q5_0", "Q4_1", "Q5_1", "MXFP4"}) {
    EXPECT(run(fast, 8, false, kInt8) == Paths{"fused"});
    EXPECT(run(fast, 1, true, kInt8) == Paths{"tail"});
  }
  for (const char* by_tiles : {"Q4_0", "Q8_0", "IQ4_NL", "Q5_0", "Q4_1", "Q5_1", "MXFP4"}) {
    EXPECT(run(by_tiles, 20, false, kInt8) == many);
  }
  const IntegerKernels& integer = panel_kernels_for(level).integer;
  for (const char* name : {"Q4_K", "Q5_K", "Q6_K", "Q2_K", "Q3_K", "IQ2_XS", "TQ1_0"}) {
    const auto packed = panel_layout(*find_format(name)).packed;
    const bool in_integers =
        packed ? integer.expand[static_cast<int>(*packed)] != nullptr : integer.fold != nullptr;
    for (const int64_t rows : {16, 24, 32}) {
      for (const bool in_place : {false, true}) {
        EXPECT(run(name, rows, in_place, kInt8) == (in_integers ? Paths{"integer"} : many));
      }
    }
  }
  EXPECT(run("Q8_0", 32, false, kInt8) == many);
  EXPECT(run("IQ2_XS", 1, false, kInt8) == Paths{"tail"});
  EXPECT(run("F16", 1, false, kInt8) == Paths{"floats"});
  EXPECT(run("Q4_K", 20, false, ActivationKind::kF32) == Paths{"reference"});
}

TEST(what_came_after_a_group_of_products_is_expected_after_it) {
  const char weights[3] = {}, memory[6] = {};
  const auto weight = [&](int i) { return reinterpret_cast<const Weight*>(weights + i); };
  ReadAhead read_ahead;
  const auto begin = [&](int i) {
    const auto places =
        read_ahead.begin(weight(i), 2, [&](int thread) { return memory + 2 * i + thread; });
    return std::vector<const void*>(places.begin(), places.end());
  };
  using Places = std::vector<const void*>;
  const Places nothing, first = {memory, memory + 1}, second = {memory + 2, memory + 3};
  EXPECT(begin(0) == nothing && begin(1) == nothing);
  EXPECT(begin(0) == second && begin(1) == first);
  read_ahead.pause();  // what begins next did not come after the second
  EXPECT(begin(2) == nothing && begin(0) == second && begin(1) == first);
  EXPECT(begin(2) == first);
}

TEST(f32_activations_give_the_product_of_decoded_weights) {
  for (const char* name : {"Q4_K", "IQ1_M", "Q8_0"}) {
    const Case one(*find_format(name));
    CpuBackend backend = backend_at(supported_cpu_levels().back(), 1, ActivationKind::kF32);
    const Floats out = multiply(backend, *one.load(backend, false), one.x, 3, one.cols);
    std::vector<double> magnitude;
    const auto truth =
        test::product_in_double(one.format, one.bytes, kRows, one.cols, one.x, &magnitude);
    for (size_t i = 0; i < out.size(); ++i) {
      EXPECT(test::near(out[i], truth[i], 1e-6 * magnitude[i]));
    }
    EXPECT(count(backend, "reference") > 0);
  }
}

TEST(a_cancelled_backend_stops_between_panels) {
  const Case one(*find_format("Q4_K"));
  CpuBackend backend = backend_at(supported_cpu_levels().back());
  const auto weight = one.load(backend, false);
  const std::atomic<bool> raised{true};
  backend.watch(&raised);
  multiply(backend, *weight, one.x, 1, one.cols);
  EXPECT_EQ(count(backend, "fused"), 0u);
  EXPECT_ERROR(kCancelled, { backend.check_cancelled(); });
}
