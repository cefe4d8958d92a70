// Drawing from the first logits of a row, as a backend lists them: what the whole row draws, or
// nothing.
#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "cpp/harness.h"
#include "engine/sampler.h"

using namespace realm;

namespace {

using Floats = std::vector<float>;

template <class T>
T pick(std::mt19937& generator, std::initializer_list<T> choices) {
  return choices.begin()[generator() % choices.size()];
}

std::vector<TopLogit> first_of(const Floats& row, size_t n) {
  std::vector<TopLogit> list;
  for (size_t i = 0; i < row.size(); ++i) list.push_back({row[i], static_cast<int32_t>(i)});
  std::ranges::stable_sort(list, std::greater{}, &TopLogit::logit);
  list.resize(n);
  return list;
}

Floats random_row(std::mt19937& generator, size_t n) {
  std::normal_distribution<float> normal(0, pick(generator, {0.1f, 2.0f, 30.0f}));
  const bool has_ties = generator() % 2 == 0;
  Floats row(n);
  for (float& logit : row) logit = has_ties ? std::round(normal(generator)) : normal(generator);
  return row;
}

}  // namespace

TEST(the_first_logits_of_a_row_draw_what_the_whole_row_draws) {
  std::mt19937 generator(8);
  int n_told = 0, n_asked = 0;
  for (int i = 0; i < 4000; ++i) {
    const Floats row = random_row(generator, pick<size_t>(generator, {1, 7, 60, 300}));
    SamplingParams params;
    params.temperature = pick(generator, {0.0, 1e-30, 0.3, 1.0, 40.0, 1e30});
    params.top_k = pick<int64_t>(generator, {0, 1, 5, 40, 64, 65, 1000});
    params.top_p = pick(generator, {1.0, 0.9, 0.4, 1e-12});
    params.min_p = pick(generator, {0.0, 0.02, 0.5, 1.0});
    const int64_t most = std::min<int64_t>(64, std::ssize(row));
    const int64_t least = std::min(most, Sampler::list_for(params, 64));
    const auto n = static_cast<size_t>(std::max<int64_t>(1, pick(generator, {least, most})));
    Sampler sampler;
    const TokenNoise noise(3, static_cast<uint64_t>(i));
    const auto told = sampler.sample_top(first_of(row, n), row.size(), params, noise);
    if (told) EXPECT_EQ(*told, sampler.sample({row, params, TokenHistory()}, noise));
    const bool must_tell = params.temperature == 0 || (params.top_k > 0 && params.top_k <= 64);
    if (must_tell && least > 0) EXPECT(told.has_value());
    ++(told ? n_told : n_asked);
  }
  EXPECT(n_told > 1000 && n_asked > 300);
}

TEST(a_list_that_min_p_ends_says_nothing_of_the_mass_behind_it) {
  Floats row(300, -4.0f);
  std::fill_n(row.begin(), 63, -3.0f);
  row[0] = 0;
  SamplingParams params;
  params.temperature = 1;
  params.top_k = 0;
  params.min_p = 0.03;  // keeps those at -3
  for (const double top_p : {1.0, 0.5}) {
    params.top_p = top_p;
    for (uint64_t i = 0; i < 200; ++i) {
      Sampler sampler;
      const TokenNoise noise(5, i);
      const auto told = sampler.sample_top(first_of(row, 64), row.size(), params, noise);
      EXPECT_EQ(told.has_value(), top_p == 1.0);
      if (told) EXPECT_EQ(*told, sampler.sample({row, params, TokenHistory()}, noise));
    }
  }
}

TEST(rows_that_penalties_or_bias_change_are_never_drawn_from_a_list) {
  SamplingParams penalized, biased;
  penalized.presence_penalty = 0.1;
  biased.logit_bias[2] = 1;
  const Floats row{1, 2, 3};
  for (const SamplingParams& params : {penalized, biased}) {
    EXPECT_EQ(Sampler::list_for(params, 64), 0);
    EXPECT(!Sampler().sample_top(first_of(row, 3), 3, params, TokenNoise(1, 1)));
  }
  EXPECT_EQ(Sampler::list_for(SamplingParams(), 64), 40);
  EXPECT_EQ(Sampler::list_for(SamplingParams(), 39), 0);
  EXPECT_EQ(Sampler::list_for(SamplingParams(), 0), 0);
}
