// Rejection judged by draws of the demo pair: tokens that stood through guesses against tokens that
// were sampled plainly, by two statistics, and the same statistics on planted errors. REALM_DRAWS
// sets the number of the engine's runs.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "cpp/harness.h"
#include "cpp/speculative_world.h"
#include "engine/speculative/judge.h"

using namespace realm;
using namespace realm::test;

namespace {

using Counts = std::map<int32_t, double>;

struct Comparison {
  double variation = 0, expected_variation = 0;  // between the two samples
  double p_value = 0;                            // of the chi-square statistic

  bool is_alike() const { return variation < 1.5 * expected_variation && p_value > 1e-3; }
};

// The chance of a chi-square statistic this large or larger (Wilson and Hilferty's approximation).
double chi_square_tail(double statistic, double degrees) {
  const double shrink = 2 / (9 * degrees);
  const double z = (std::cbrt(statistic / degrees) - (1 - shrink)) / std::sqrt(shrink);
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

// Two samples of `n` draws each. Tokens drawn fewer than ten times in both together are pooled.
Comparison compare(const Counts& a, const Counts& b, double n) {
  std::map<int32_t, std::pair<double, double>> cells;
  for (const auto& [token, count] : a) cells[token].first += count;
  for (const auto& [token, count] : b) cells[token].second += count;
  Comparison result;
  std::pair<double, double> rest;
  double statistic = 0, degrees = -1;
  const auto add = [&](const std::pair<double, double>& cell) {
    const double both = cell.first + cell.second;
    if (both == 0) return;
    statistic += (cell.first - cell.second) * (cell.first - cell.second) / both;
    ++degrees;
  };
  for (const auto& [token, cell] : cells) {
    const double share = (cell.first + cell.second) / (2 * n);
    result.variation += std::abs(cell.first - cell.second) / n / 2;
    // A normal difference of variance 2 p (1 - p) / n has this mean size.
    result.expected_variation += std::sqrt(4 * share * (1 - share) / (n * 3.14159265358979)) / 2;
    if (cell.first + cell.second < 10) {
      rest.first += cell.first;
      rest.second += cell.second;
    } else {
      add(cell);
    }
  }
  add(rest);
  result.p_value = degrees > 0 ? chi_square_tail(statistic, degrees) : 1;
  return result;
}

std::vector<float> logits_after(const std::shared_ptr<Model>& model, const Tokens& prompt) {
  std::vector<float> logits(static_cast<size_t>(model->config().n_vocab));
  SoloSequence(model, {.max_tokens = 64}).append(prompt, 1, logits.data());
  return logits;
}

SamplingParams wide() {
  SamplingParams params;
  params.temperature = 2;
  params.top_k = 32;
  params.top_p = 1;
  params.ignore_eos = true;
  return params;
}

enum class Planted { kNone, kResidual, kUnfiltered };

double probability_of(const Distribution& law, int32_t token) {
  const auto at = std::find(law.tokens.begin(), law.tokens.end(), token);
  return at == law.tokens.end() ? 0
                                : law.probabilities[static_cast<size_t>(at - law.tokens.begin())];
}

// A refused guess replaced by a draw from the residual without its scale.
int32_t unscaled_residual(const Distribution& target, const Distribution& draft, double uniform) {
  double sum = 0;
  int32_t token = target.tokens.back();
  for (const int32_t other : target.tokens) {
    const double rest = probability_of(target, other) - probability_of(draft, other);
    if (rest <= 0) continue;
    token = other;
    sum += rest;
    if (uniform < sum) break;
  }
  return token;
}

// One position of the demo pair, decided by guess and verdict with the noise that the engine uses.
class Position {
 public:
  Position() {
    const Tokens prompt = {1, 40, 70, 22, 9, 101};
    target_ = logits_after(demo(), prompt);
    draft_ = logits_after(demo_draft(), prompt);
    sampler_.distribution({draft_, params_, history_}, law_);
    SamplingParams all = wide();
    all.top_k = 0;
    sampler_.distribution({draft_, all, history_}, unfiltered_);
    sampler_.distribution({target_, params_, history_}, target_law_);
  }

  Counts plain(int n) {
    Counts counts;
    for (int seed = 0; seed < n; ++seed) {
      const TokenNoise noise(static_cast<uint64_t>(seed) + 1'000'000, 6);
      ++counts[sampler_.sample({target_, params_, history_}, noise)];
    }
    return counts;
  }

  Counts speculated(int n, Planted error) {
    Counts counts;
    for (int i = 0; i < n; ++i) {
      const auto seed = static_cast<uint64_t>(i);
      const TokenNoise noise(seed, 6, NoiseUse::kDraft);
      const DraftedToken drafted{sampler_.sample({draft_, params_, history_}, noise),
                                 error == Planted::kUnfiltered ? &unfiltered_ : &law_};
      const JudgedRow judged{{target_, params_, history_}, seed, 6};
      Verdict verdict = judge(judged, &drafted, SpeculativeMethod::kRejection, sampler_);
      if (error == Planted::kResidual && !verdict.is_draft) {
        TokenNoise residual(seed, 6, NoiseUse::kResidual);
        verdict.token = unscaled_residual(target_law_, law_, residual.uniform(0));
      }
      ++counts[verdict.token];
      n_accepted += verdict.is_draft;
    }
    return counts;
  }

  int n_accepted = 0;

 private:
  const SamplingParams params_ = wide();
  const TokenHistory history_;
  Sampler sampler_;
  std::vector<float> target_, draft_;
  Distribution law_, unfiltered_, target_law_;
};

// The third token of many answers: the second that guesses may have decided.
Counts third_tokens(Engine& engine, int n, uint64_t first_seed, bool is_speculated) {
  RequestOptions options;
  options.prompt = {1, 40, 70, 22, 9, 101};
  options.params = wide();
  options.params.max_tokens = 4;
  if (is_speculated) {
    options.speculative.emplace();
    options.speculative->draft_k = 2;
    options.speculative->adaptive = false;
    options.speculative->method = SpeculativeMethod::kRejection;
  }
  std::vector<std::shared_ptr<Request>> requests;
  for (int i = 0; i < n; ++i) {
    options.params.seed = first_seed + static_cast<uint64_t>(i);
    requests.push_back(engine.submit(options));
  }
  Counts counts;
  for (const auto& request : requests) ++counts[answer_of(*request).tokens.at(2)];
  return counts;
}

}  // namespace

TEST(twenty_thousand_draws_of_the_demo_pair_follow_the_target) {
  constexpr int kDraws = 20000;
  Position position;
  const Counts plain = position.plain(kDraws);
  const Comparison right = compare(position.speculated(kDraws, Planted::kNone), plain, kDraws);
  EXPECT(right.is_alike());
  EXPECT(plain.size() > 25);
  EXPECT(right.expected_variation > 0.01);
  EXPECT(position.n_accepted > kDraws / 10 && position.n_accepted < kDraws * 9 / 10);
}

TEST(twenty_thousand_draws_catch_planted_errors) {
  constexpr int kDraws = 20000;
  Position position;
  const Counts plain = position.plain(kDraws);
  for (const Planted error : {Planted::kResidual, Planted::kUnfiltered}) {
    const Comparison wrong = compare(position.speculated(kDraws, error), plain, kDraws);
    EXPECT(wrong.variation > 1.5 * wrong.expected_variation);
    EXPECT(wrong.p_value < 1e-6);
  }
}

TEST(answers_of_the_engine_follow_the_target) {
  const char* draws = std::getenv("REALM_DRAWS");
  const int n = draws ? std::atoi(draws) : 2000;
  Engine engine(demo(), {}, {}, {demo_draft(), ""});
  const Counts plain = third_tokens(engine, n, 1'000'000, false);
  const Counts speculated = third_tokens(engine, n, 0, true);
  const Comparison both = compare(speculated, plain, n);
  EXPECT(both.is_alike());
  const EngineStats stats = engine.stats();
  EXPECT(stats.verifications > static_cast<uint64_t>(n));
  EXPECT(stats.accepted_tokens > 0 && stats.accepted_tokens < stats.draft_tokens);
  if (draws) {
    std::printf(
        "%d runs: variation %.4f, expected %.4f, p %.3g, accepted %.3f\n", n, both.variation,
        both.expected_variation, both.p_value,
        static_cast<double>(stats.accepted_tokens) / static_cast<double>(stats.draft_tokens));
  }
}
