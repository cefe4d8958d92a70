// Sampling against its slow twin (cpp/sampler_twin.h) over random rows, the law of draws, and every
// edge that a model or a request can produce.
#include "engine/sampler.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "cpp/harness.h"
#include "cpp/sampler_twin.h"
#include "engine/logprobs.h"
#include "engine/validate_params.h"

using namespace realm;
using namespace realm::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

SamplingParams unfiltered(double temperature = 1) {
  SamplingParams params;
  params.temperature = temperature;
  params.top_k = 0;
  params.top_p = 1;
  return params;
}

TokenHistory history_of(const Tokens& prompt, const Tokens& output) {
  TokenHistory history(prompt);
  for (const int32_t token : output) history.push(token);
  return history;
}

int32_t sample(const Floats& row, const SamplingParams& params, uint64_t seed = 1,
               uint64_t position = 0) {
  return Sampler().sample({row, params, TokenHistory()}, TokenNoise(seed, position));
}

Distribution law_of(const Floats& row, const SamplingParams& params,
                    const TokenHistory& history = {}) {
  Distribution law;
  Sampler().distribution({row, params, history}, law);
  return law;
}

template <class T>
T pick(std::mt19937& generator, std::initializer_list<T> choices) {
  return choices.begin()[generator() % choices.size()];
}

Tokens random_tokens(std::mt19937& generator, size_t n, size_t n_vocab) {
  Tokens tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(generator() % n_vocab);
  return tokens;
}

SamplingParams random_params(std::mt19937& generator, size_t n_vocab) {
  std::uniform_real_distribution<double> unit(0.001, 0.999);
  SamplingParams params;
  params.temperature = pick(generator, {0.0, 0.3, 0.7, 1.0, 1.7});
  params.top_k = pick<int64_t>(generator, {0, 1, 2, 5, 40, 1000});
  params.top_p = pick(generator, {1.0, unit(generator), unit(generator)});
  params.min_p = pick(generator, {0.0, unit(generator), unit(generator) * 0.1});
  params.repetition_penalty = pick(generator, {1.0, 1.3, 0.8});
  params.presence_penalty = pick(generator, {0.0, 0.9, -0.4});
  params.frequency_penalty = pick(generator, {0.0, 0.35, -0.2});
  for (const int32_t token : random_tokens(generator, generator() % 4, n_vocab)) {
    params.logit_bias[token] = pick(generator, {-kInfinity, 2.5f, -1.0f});
  }
  return params;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

// The chance of a chi-square statistic this large or larger (Wilson and Hilferty's approximation).
double chi_square_tail(double statistic, double degrees) {
  const double shrink = 2 / (9 * degrees);
  const double z = (std::cbrt(statistic / degrees) - (1 - shrink)) / std::sqrt(shrink);
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

// Draws from `params` at many positions, judged by `law`; cells expecting under 5 are pooled. A
// token outside the law makes it 0.
double p_value(const Floats& row, const SamplingParams& params, const Distribution& law,
               int n_draws = 20000) {
  std::vector<int> counts(row.size(), 0);
  Sampler sampler;
  const TokenHistory history;
  for (int i = 0; i < n_draws; ++i) {
    const TokenNoise noise(99, static_cast<uint64_t>(i));
    ++counts[static_cast<size_t>(sampler.sample({row, params, history}, noise))];
  }
  double statistic = 0, rest_expected = 0, rest = n_draws, degrees = -1;
  for (size_t i = 0; i < law.tokens.size(); ++i) {
    const double expected = law.probabilities[i] * n_draws;
    if (expected < 5) {
      rest_expected += expected;
      continue;
    }
    const double n = counts[static_cast<size_t>(law.tokens[i])];
    statistic += (n - expected) * (n - expected) / expected;
    rest -= n;
    ++degrees;
  }
  if (rest_expected == 0) return rest == 0 ? chi_square_tail(statistic, degrees) : 0;
  statistic += (rest - rest_expected) * (rest - rest_expected) / rest_expected;
  return chi_square_tail(statistic, degrees + 1);
}

}  // namespace

TEST(filters_penalties_and_draws_equal_the_slow_twin) {
  std::mt19937 generator(1);
  Sampler sampler;
  int n_judged = 0;
  for (int i = 0; i < 4000; ++i) {
    const size_t n_vocab = pick<size_t>(generator, {1, 2, 7, 50, 300});
    const Floats row = random_row(generator, n_vocab, generator() % 2 == 0);
    const SamplingParams params = random_params(generator, n_vocab);
    const Tokens prompt = random_tokens(generator, generator() % 20, n_vocab);
    const Tokens output = random_tokens(generator, generator() % 20, n_vocab);
    const TokenHistory history = history_of(prompt, output);
    const Twin twin = twin_of(row, params, prompt, output);
    if (twin.close || twin.law.tokens.empty()) continue;
    ++n_judged;

    Distribution law;
    sampler.distribution({row, params, history}, law);
    EXPECT(law.tokens == twin.law.tokens);
    EXPECT(largest_difference(law.probabilities, twin.law.probabilities) < 1e-12);
    const auto position = static_cast<uint64_t>(i);
    const int32_t token = sampler.sample({row, params, history}, TokenNoise(5, position));
    const double temperature = params.temperature > 0 ? params.temperature : 1;
    EXPECT_EQ(token, twin.draw(5, position, temperature));
  }
  EXPECT(n_judged > 3500);
}

TEST(large_vocabularies_equal_the_slow_twin) {
  std::mt19937 generator(2);
  for (const bool ties : {false, true}) {
    const Floats row = random_row(generator, 50000, ties);
    for (const double top_p : {0.2, 0.9, 0.999, 1.0}) {
      for (const int64_t top_k : {0, 40, 3000}) {
        SamplingParams params = unfiltered(1.5);
        params.top_k = top_k;
        params.top_p = top_p;
        const Twin twin = twin_of(row, params);
        EXPECT(!twin.close);
        EXPECT(law_of(row, params).tokens == twin.law.tokens);
        for (uint64_t position = 0; position < 5; ++position) {
          EXPECT_EQ(sample(row, params, 8, position), twin.draw(8, position, 1.5));
        }
      }
    }
  }
}

TEST(twenty_thousand_draws_follow_the_law) {
  std::mt19937 generator(3);
  const Floats row = random_row(generator, 64, false, 1);
  SamplingParams narrow;
  narrow.top_k = 20;
  narrow.min_p = 0.01;
  for (const SamplingParams& params : {SamplingParams{}, narrow, unfiltered(), unfiltered(2.5)}) {
    const Distribution law = twin_of(row, params).law;
    EXPECT(law.tokens.size() > 10);
    EXPECT(p_value(row, params, law) > 1e-3);
  }
}

TEST(the_test_of_the_law_catches_planted_errors) {
  std::mt19937 generator(3);
  const Floats row = random_row(generator, 64, false, 1);
  Distribution law = twin_of(row, unfiltered()).law;
  SamplingParams forgotten_top_p = unfiltered();
  forgotten_top_p.top_p = 0.98;
  EXPECT(p_value(row, forgotten_top_p, law) < 1e-6);
  EXPECT(p_value(row, unfiltered(0.9), law) < 1e-6);
  std::swap(law.probabilities[2], law.probabilities[6]);
  EXPECT(p_value(row, unfiltered(), law) < 1e-6);
}

TEST(same_seed_and_position_give_the_same_token_from_any_sampler) {
  std::mt19937 generator(4);
  const Floats row = random_row(generator, 1000, false);
  const SamplingParams params = unfiltered();
  const TokenHistory history;
  Sampler reused;
  Tokens forward, backward;
  for (uint64_t i = 0; i < 100; ++i) {
    forward.push_back(reused.sample({row, params, history}, TokenNoise(42, i)));
  }
  for (uint64_t i = 100; i-- > 0;) backward.push_back(sample(row, params, 42, i));
  std::reverse(backward.begin(), backward.end());
  EXPECT(forward == backward);
  Tokens other_seed;
  for (uint64_t i = 0; i < 100; ++i) other_seed.push_back(sample(row, params, 43, i));
  EXPECT(forward != other_seed);
}

// The gain of sharing the noise: two models whose laws differ by TV agree at least
// (1 - TV) / (1 + TV) of the time.
TEST(draft_and_target_that_share_the_noise_mostly_agree) {
  const Floats target = {1.0f, 0.5f, 0.0f, -1.0f}, draft = {0.8f, 0.9f, 0.0f, -1.5f};
  const Distribution a = law_of(target, unfiltered()), b = law_of(draft, unfiltered());
  double variation = 0;
  for (size_t i = 0; i < 4; ++i) {
    const auto at = std::find(b.tokens.begin(), b.tokens.end(), a.tokens[i]) - b.tokens.begin();
    variation += std::abs(a.probabilities[i] - b.probabilities[static_cast<size_t>(at)]) / 2;
  }
  int agreed = 0;
  for (uint64_t i = 0; i < 20000; ++i) {
    agreed += sample(target, unfiltered(), 6, i) == sample(draft, unfiltered(), 6, i) ? 1 : 0;
  }
  EXPECT(agreed / 20000.0 > (1 - variation) / (1 + variation) - 0.01);
}

TEST(greedy_takes_the_lowest_id_of_the_largest) {
  SamplingParams params;
  params.temperature = 0;
  EXPECT_EQ(sample({1.0f, 3.0f, 2.0f, 3.0f}, params), 1);
  EXPECT_EQ(sample({-0.0f, 0.0f}, params), 0);
  EXPECT_EQ(sample({-kInfinity, -5.0f}, params), 1);
  const Distribution law = law_of({1.0f, 3.0f, 2.0f, 3.0f}, params);
  EXPECT(law.tokens == Tokens{1} && law.probabilities == std::vector<double>{1.0});
}

TEST(top_k_breaks_ties_by_id) {
  SamplingParams params = unfiltered();
  params.top_k = 3;
  EXPECT(law_of({1, 2, 1, 1, 2, 1}, params).tokens == (Tokens{1, 4, 0}));
  const Floats constant(1000, 0.5f);
  EXPECT(law_of(constant, params).tokens == (Tokens{0, 1, 2}));
}

TEST(top_k_of_an_ascending_row_is_its_end) {
  Floats row(5000);
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i) * 0.001f;
  SamplingParams params = unfiltered();
  params.top_k = 2;
  EXPECT(law_of(row, params).tokens == (Tokens{4999, 4998}));
}

TEST(top_p_keeps_the_token_that_crosses_and_no_more) {
  SamplingParams params = unfiltered();
  const Floats tens(10, 1.0f);  // ten tokens of probability 0.1
  for (const auto& [top_p, n] :
       {std::pair{0.5, 5}, {0.51, 6}, {0.9, 9}, {1e-300, 1}, {1 - 1e-16, 10}}) {
    params.top_p = top_p;
    EXPECT_EQ(law_of(tens, params).tokens.size(), static_cast<size_t>(n));
  }
  const Floats sure = {0.0f, 100.0f, 0.0f};
  params.top_p = 0.999999;
  EXPECT(law_of(sure, params).tokens == Tokens{1});
}

TEST(top_p_is_of_what_top_k_left) {
  SamplingParams params = unfiltered();
  params.top_k = 2;
  params.top_p = 0.6;  // of two equal tokens both are needed; of ten, six
  EXPECT_EQ(law_of(Floats(10, 1.0f), params).tokens.size(), size_t{2});
}

TEST(min_p_one_keeps_the_ties_of_the_best) {
  SamplingParams params = unfiltered();
  params.min_p = 1;
  EXPECT(law_of({3, 1, 3, 2.9999f}, params).tokens == (Tokens{0, 2}));
}

TEST(repetition_covers_prompt_and_output_the_others_only_output) {
  const Floats row = {2.0f, -2.0f, 2.0f, 2.0f};
  SamplingParams params = unfiltered();
  params.repetition_penalty = 2;
  params.presence_penalty = 0.5;
  params.frequency_penalty = 0.25;
  const Distribution law = law_of(row, params, history_of({0, 1, 0}, {2, 2}));
  // 0: 2/2; 1: -2*2; 2: 2/2 - 2*0.25 - 0.5; 3: 2.
  EXPECT(law.tokens == (Tokens{3, 0, 2, 1}));
  EXPECT(near(law.probabilities[1] / law.probabilities[0], std::exp(-1.0), 1e-12));
  EXPECT(near(law.probabilities[2] / law.probabilities[0], std::exp(-2.0), 1e-12));
  EXPECT(near(law.probabilities[3] / law.probabilities[0], std::exp(-6.0), 1e-12));
}

TEST(a_popped_draft_token_leaves_no_penalty) {
  const Floats row = {2.0f, 1.0f, 0.5f};
  SamplingParams params = unfiltered();
  params.repetition_penalty = 1.5;
  params.frequency_penalty = 0.5;
  TokenHistory history = history_of({0}, {1});
  const Distribution before = law_of(row, params, history);
  for (const int32_t token : {2, 1, 0}) history.push(token);
  EXPECT(law_of(row, params, history).probabilities != before.probabilities);
  for (const int32_t token : {0, 1, 2}) history.pop(token);
  EXPECT(law_of(row, params, history).probabilities == before.probabilities);
}

TEST(bias_of_minus_infinity_forbids_and_a_large_one_compels) {
  SamplingParams params = unfiltered(1.0);
  params.logit_bias = {{1, -kInfinity}, {2, 1e30f}};
  const Floats row = {0.0f, 50.0f, 0.0f};
  for (uint64_t i = 0; i < 50; ++i) EXPECT_EQ(sample(row, params, 1, i), 2);
  params.logit_bias = {{0, -kInfinity}, {2, -kInfinity}};
  params.temperature = 0;
  EXPECT_EQ(sample(row, params), 1);
}

TEST(a_masked_token_stays_masked_under_any_bias_or_penalty) {
  SamplingParams params = unfiltered();
  params.logit_bias = {{0, 100.0f}};
  params.repetition_penalty = 0.5;
  params.presence_penalty = -3;
  const Distribution law = law_of({-kInfinity, 1.0f}, params, history_of({0}, {0}));
  EXPECT(law.tokens == Tokens{1});
}

TEST(logits_that_are_no_numbers_are_errors_and_never_tokens) {
  for (const SamplingParams& params : {SamplingParams{}, unfiltered(), unfiltered(0)}) {
    const std::string text = EXPECT_ERROR(kFormat, { sample({0.0f, kNan, 1.0f}, params); });
    EXPECT(contains(text, "token 1") && contains(text, "nan"));
    EXPECT(contains(EXPECT_ERROR(kFormat, { sample({0.0f, kInfinity}, params); }), "inf"));
    EXPECT_ERROR(kInvalidRequest, { sample({-kInfinity, -kInfinity}, params); });
    EXPECT_ERROR(kInvalidRequest, { sample({}, params); });
  }
  SamplingParams params;  // a bias must not hide the defect
  params.logit_bias = {{0, -kInfinity}};
  EXPECT_ERROR(kFormat, { sample({kNan, 1.0f}, params); });
}

TEST(extreme_numbers_stay_ordered) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  SamplingParams params = unfiltered(1e-308);
  EXPECT_EQ(sample({-kLargest, kLargest, 0.0f}, params), 1);
  params.temperature = 1e308;
  EXPECT_EQ(law_of({-kLargest, kLargest, 0.0f}, params).tokens.size(), size_t{3});
  params.repetition_penalty = 1e-300;  // saturates instead of becoming infinite
  params.temperature = 1;
  EXPECT(law_of({1.0f, 2.0f}, params, history_of({0}, {})).tokens == (Tokens{0, 1}));
  params.logit_bias = {{1, kLargest}};
  EXPECT_EQ(law_of({1.0f, kLargest}, params, history_of({0, 1}, {})).tokens.size(), size_t{2});
}

TEST(a_history_beyond_the_vocabulary_is_refused) {
  SamplingParams params = unfiltered();
  params.presence_penalty = 1;
  EXPECT_ERROR(kInvalidRequest, { law_of({1.0f, 2.0f}, params, history_of({}, {2})); });
  EXPECT_ERROR(kInvalidRequest, { law_of({1.0f, 2.0f}, params, history_of({-1}, {})); });
}

TEST(logprobs_are_those_of_the_model) {
  const Floats row = {1.0f, 3.0f, -kInfinity, 3.0f, 0.0f};
  const double log_sum = std::log(std::exp(1.0) + 2 * std::exp(3.0) + 1);
  Logprobs out;
  LogprobReader reader;
  reader.read(row, 0, 3, out);
  EXPECT(near(out.chosen, 1 - log_sum, 1e-6));
  EXPECT_EQ(out.top.size(), size_t{3});
  EXPECT_EQ(out.top[0].token, 1);
  EXPECT_EQ(out.top[1].token, 3);
  EXPECT_EQ(out.top[2].token, 0);
  EXPECT(near(out.top[0].logprob, 3 - log_sum, 1e-6));
  reader.read(row, 2, 100, out);
  EXPECT_EQ(out.chosen, -kInfinity);
  EXPECT_EQ(out.top.size(), size_t{4});
  reader.read(row, 4, 0, out);
  EXPECT(out.top.empty());
  EXPECT_ERROR(kFormat, { reader.read(Floats{kNan}, 0, 1, out); });
  EXPECT_ERROR(kInvalidRequest, { reader.read(row, 5, 1, out); });
  EXPECT_ERROR(kInvalidRequest, { reader.read(Floats{-kInfinity}, 0, 1, out); });
}

TEST(defaults_are_the_documented_ones_and_valid) {
  const SamplingParams params;
  validate(params, 1);
  EXPECT_EQ(params.max_tokens, 512);
  EXPECT_EQ(params.temperature, 0.7);
  EXPECT_EQ(params.top_k, 40);
  EXPECT_EQ(params.top_p, 0.9);
  EXPECT_EQ(params.min_p, 0.0);
  EXPECT_EQ(params.repetition_penalty, 1.0);
  EXPECT(!params.seed && !params.logprobs && !params.grammar && !params.ignore_eos);
}

TEST(nonsense_is_refused_by_name_and_value) {
  struct Case {
    const char* field;
    const char* value;
    void (*spoil)(SamplingParams&);
  };
  const Case cases[] = {
      {"max_tokens", "0", [](auto& p) { p.max_tokens = 0; }},
      {"max_tokens", "-5", [](auto& p) { p.max_tokens = -5; }},
      {"max_tokens", "4294967296", [](auto& p) { p.max_tokens = int64_t{1} << 32; }},
      {"temperature", "-0.1", [](auto& p) { p.temperature = -0.1; }},
      {"temperature", "nan", [](auto& p) { p.temperature = kNan; }},
      {"temperature", "inf", [](auto& p) { p.temperature = kInfinity; }},
      {"top_k", "-1", [](auto& p) { p.top_k = -1; }},
      {"top_p", "0", [](auto& p) { p.top_p = 0; }},
      {"top_p", "1.5", [](auto& p) { p.top_p = 1.5; }},
      {"top_p", "nan", [](auto& p) { p.top_p = kNan; }},
      {"min_p", "-0.5", [](auto& p) { p.min_p = -0.5; }},
      {"min_p", "nan", [](auto& p) { p.min_p = kNan; }},
      {"repetition_penalty", "0", [](auto& p) { p.repetition_penalty = 0; }},
      {"repetition_penalty", "nan", [](auto& p) { p.repetition_penalty = kNan; }},
      {"presence_penalty", "nan", [](auto& p) { p.presence_penalty = kNan; }},
      {"frequency_penalty", "-inf", [](auto& p) { p.frequency_penalty = -kInfinity; }},
      {"logprobs", "-1", [](auto& p) { p.logprobs = -1; }},
      {"logprobs", "101", [](auto& p) { p.logprobs = 101; }},
      {"stop", "65", [](auto& p) { p.stop.assign(65, "x"); }},
      {"stop", "empty", [](auto& p) { p.stop = {"a", ""}; }},
      {"stop", "1025", [](auto& p) { p.stop = {std::string(1025, 'a')}; }},
      {"stop_token_ids", "100", [](auto& p) { p.stop_token_ids = {100}; }},
      {"stop_token_ids", "-1", [](auto& p) { p.stop_token_ids = {-1}; }},
      {"stop_token_ids", "1025", [](auto& p) { p.stop_token_ids.assign(1025, 1); }},
      {"logit_bias", "100", [](auto& p) { p.logit_bias = {{100, 1.0f}}; }},
      {"logit_bias", "-3", [](auto& p) { p.logit_bias = {{-3, 1.0f}}; }},
      {"logit_bias", "nan", [](auto& p) { p.logit_bias = {{7, kNan}}; }},
      {"logit_bias", "inf", [](auto& p) { p.logit_bias = {{7, kInfinity}}; }},
      {"grammar", "needs", [](auto& p) { p.grammar = "root ::= \"a\""; }},
  };
  for (const Case& c : cases) {
    SamplingParams params;
    c.spoil(params);
    const std::string text = EXPECT_ERROR(kInvalidRequest, { validate(params, 100); });
    EXPECT(contains(text, c.field) && contains(text, c.value));
  }
}
