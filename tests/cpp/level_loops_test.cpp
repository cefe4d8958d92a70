// Loops that are compiled once per CPU level outside the CPU backend: every level gives the same
// bits. Rows of floats are held to plain loops, the searches for scales to the baseline (what the
// encoders make of them is quant_encode_test.cpp's).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/cpu_features.h"
#include "base/float_rows.h"
#include "base/half.h"
#include "cpp/harness.h"
#include "quant/encode_search.h"

using namespace realm;

namespace {

using Floats = std::vector<float>;

// Uniform in (-scale, scale), the same on every machine.
Floats noise(size_t n, uint64_t seed, float scale = 1) {
  uint64_t state = seed;
  Floats out(n);
  for (float& x : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x = scale * static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31f;
  }
  return out;
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Sub-blocks of n values: noise, noise on one side, constants, zeros but for one, a grid, and what
// is nearly too small or too large to encode.
std::vector<Floats> sub_blocks(size_t n) {
  std::vector<Floats> all;
  for (uint64_t seed = 0; seed < 40; ++seed) all.push_back(noise(n, seed, 0.02f));
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Floats shifted = noise(n, seed);
    for (float& x : shifted) x += seed % 2 == 0 ? 1.5f : -0.9f;
    all.push_back(shifted);
  }
  all.push_back(Floats(n, 0.25f));
  all.push_back(Floats(n, -3.0f));
  Floats peak(n), grid(n);
  peak[n / 2] = -7;
  for (size_t i = 0; i < n; ++i) grid[i] = static_cast<float>(i * 5 % 16) - 8;
  all.push_back(peak);
  all.push_back(grid);
  all.push_back(noise(n, 1, 0x1p-22f));
  all.push_back(noise(n, 2, search::kReach));
  return all;
}

// What a level's loops make of a sub-block, as floats.
Floats searched(const search::SearchLoops& loops, const Floats& x) {
  const int n = static_cast<int>(x.size());
  Floats out;
  for (const float top : {3.0f, 15.0f, 31.0f}) {
    const float lowest = std::min(0.0f, *std::min_element(x.begin(), x.end()));
    const float range = *std::max_element(x.begin(), x.end()) - lowest;
    if (range > 0) {
      const auto [scale, min] = loops.fit_scale_min(top, x.data(), n, lowest, range);
      out.insert(out.end(), {scale, min});
    }
    for (const search::SubScale near : {search::SubScale{0, 0}, {62, 63}, {20, 5}}) {
      const search::SubScale d{1.0f / 1024, 1.0f / 512};
      const auto [scale, min, error] = loops.settle_scale_min(top, x.data(), n, d, 63, near);
      out.insert(out.end(), {scale, min, error});
    }
  }
  for (const search::LevelRange levels : {search::LevelRange{-4, 3}, {-32, 31}}) {
    search::Candidates scale, xq, qq;
    for (size_t c = 0; c < scale.size(); ++c) scale[c] = 0.001f * (static_cast<float>(c) - 7.5f);
    loops.sum_levels(levels, x.data(), n, scale.data(), xq.data(), qq.data());
    out.insert(out.end(), xq.begin(), xq.end());
    out.insert(out.end(), qq.begin(), qq.end());
    out.push_back(static_cast<float>(loops.least_error(levels, x.data(), n, scale.data())));
  }
  return out;
}

}  // namespace

TEST(searches_give_the_bits_of_the_baseline) {
  const auto& baseline = search::search_loops_for(CpuLevel::kBaseline);
  for (const CpuLevel level : supported_cpu_levels()) {
    for (const size_t n : {16, 32}) {
      for (const Floats& x : sub_blocks(n)) {
        EXPECT(same_bits(searched(search::search_loops_for(level), x), searched(baseline, x)));
      }
    }
  }
}

TEST(a_search_takes_the_first_of_equal_candidates) {
  const Floats ones(32, 1.0f);
  for (const size_t first : {0, 1, 7, 15}) {
    Floats scale(16, 0.3f);  // 3 * 0.3 misses 1
    std::fill(scale.begin() + static_cast<ptrdiff_t>(first), scale.end(), 1.0f);
    for (const CpuLevel level : supported_cpu_levels()) {
      const auto& loops = search::search_loops_for(level);
      EXPECT_EQ(loops.least_error({-4, 3}, ones.data(), 32, scale.data()), static_cast<int>(first));
    }
  }
}

TEST(rows_of_halves_widen_exactly) {
  std::vector<uint16_t> halves(0x10000);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  for (const CpuLevel level : supported_cpu_levels()) {
    Floats wide(halves.size());
    float_rows_for(level).widen_bf16(halves.data(), wide.data(), std::ssize(halves));
    for (size_t i = 0; i < halves.size(); ++i) {
      EXPECT_EQ(float_bits(wide[i]), float_bits(bf16_to_f32(halves[i])));
    }
    float_rows_for(level).widen_f16(halves.data(), wide.data(), std::ssize(halves));
    for (size_t i = 0; i < halves.size(); ++i) {
      const float want = f16_to_f32(halves[i]);
      EXPECT(std::isnan(want) ? std::isnan(wide[i]) : float_bits(wide[i]) == float_bits(want));
    }
  }
}

TEST(row_loops_end_where_their_rows_do) {
  constexpr float kUntouched = 1234;
  for (const CpuLevel level : supported_cpu_levels()) {
    const FloatRows& rows = float_rows_for(level);
    for (size_t n = 0; n < 150; n = n < 40 ? n + 1 : n + 23) {
      const auto length = static_cast<int64_t>(n);
      const std::vector<uint16_t> halves(n, 0x3c00);
      Floats wide(n + 1, kUntouched);
      rows.widen_f16(halves.data(), wide.data(), length);
      EXPECT(wide.back() == kUntouched && (n == 0 || wide[n - 1] == 1));
      rows.widen_bf16(std::vector<uint16_t>(n, 0x4000).data(), wide.data(), length);
      EXPECT(wide.back() == kUntouched && (n == 0 || wide[n - 1] == 2));
      for (const size_t n_rows : {0, 1, 5, 32}) {
        const Floats in = noise(n_rows * n, 3), factors = noise(n_rows, 4);
        Floats out = noise(n, 5);
        out.push_back(kUntouched);
        Floats want = out;
        for (size_t j = 0; j < n_rows; ++j) {
          for (size_t i = 0; i < n; ++i) want[i] = want[i] + factors[j] * in[j * n + i];
        }
        rows.add_scaled(out.data(), in.data(), factors.data(), static_cast<int>(n_rows), length);
        EXPECT(same_bits(out, want));
      }
    }
  }
}
