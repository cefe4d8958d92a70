// Speculation is exact. Rejection is proven by enumeration: over every draft and every interval of
// its two uniform numbers, the law of what stands is the target's. Coupled is compared with plain
// sampling token by token.
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "cpp/harness.h"
#include "cpp/sampler_twin.h"
#include "engine/speculative/accept.h"
#include "engine/speculative/judge.h"

using namespace realm;
using namespace realm::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A uniform number of which only an interval is known: each comparison that the interval does not
// decide splits it. A run over all of `branches` integrates exactly.
class Branching final : public Uniform {
 public:
  // The n-th comparison that splits takes the lower part if `choices` says so there.
  Branching(const std::vector<bool>& choices, size_t& n_splits)
      : choices_(choices), n_splits_(n_splits) {}

  bool below(double bound) override {
    if (bound <= low_) return false;
    if (bound >= high_) return true;
    const bool lower = n_splits_ < choices_.size() ? choices_[n_splits_] : true;
    ++n_splits_;
    (lower ? high_ : low_) = bound;
    return lower;
  }
  double width() const { return high_ - low_; }

 private:
  const std::vector<bool>& choices_;
  size_t& n_splits_;
  double low_ = 0, high_ = 1;
};

using RejectionRule =
    std::function<Verdict(const Distribution&, const DraftedToken&, const RejectionNoise&)>;

// Every verdict that `rule` can give, with its probability.
std::map<std::pair<int32_t, bool>, double> verdicts(const RejectionRule& rule,
                                                    const Distribution& target,
                                                    const DraftedToken& drafted) {
  std::map<std::pair<int32_t, bool>, double> law;
  std::vector<bool> choices;
  while (true) {
    size_t n_splits = 0;
    Branching accept(choices, n_splits), residual(choices, n_splits);
    const Verdict verdict = rule(target, drafted, {accept, residual});
    law[{verdict.token, verdict.is_draft}] += accept.width() * residual.width();
    choices.resize(n_splits, true);
    while (!choices.empty() && !choices.back()) choices.pop_back();
    if (choices.empty()) return law;
    choices.back() = false;
  }
}

// Laws of target and draft after every prefix of up to k tokens.
struct Pair {
  size_t n_vocab, k;
  bool is_point_mass;                              // the drafter does not draw
  std::vector<Distribution> target, draft, shown;  // by prefix; `shown` is what the rule is told

  size_t child(size_t prefix, int32_t token) const {
    return prefix * n_vocab + static_cast<size_t>(token) + 1;
  }
  size_t n_prefixes() const {
    size_t n = 1;
    for (size_t i = 0; i < k; ++i) n = n * n_vocab + 1;
    return n;
  }
};

// The law of the k + 1 tokens that begin with one verification and, where it gave fewer, go on by
// plain sampling; by the index of the sequence in the tree of prefixes.
class Enumeration {
 public:
  Enumeration(const Pair& pair, const RejectionRule& rule) : pair_(pair), rule_(rule) {}

  std::map<size_t, double> of_speculation() {
    verify(0, 0, 1);
    return std::move(law_);
  }
  std::map<size_t, double> of_target() {
    go_on(0, 0, 1);
    return std::move(law_);
  }

 private:
  void go_on(size_t prefix, size_t depth, double mass) {
    if (depth > pair_.k) {
      law_[prefix] += mass;
      return;
    }
    const Distribution& target = pair_.target[prefix];
    for (size_t i = 0; i < target.tokens.size(); ++i) {
      go_on(pair_.child(prefix, target.tokens[i]), depth + 1, mass * target.probabilities[i]);
    }
  }

  // The draft's law after a prefix does not look at what becomes of its tokens, so drawing it when
  // it is judged is the same.
  void verify(size_t prefix, size_t depth, double mass) {
    if (depth == pair_.k) return go_on(prefix, depth, mass);
    const Distribution& draft = pair_.draft[prefix];
    for (size_t i = 0; i < draft.tokens.size(); ++i) {
      const DraftedToken drafted{draft.tokens[i],
                                 pair_.is_point_mass ? nullptr : &pair_.shown[prefix]};
      for (const auto& [verdict, part] : verdicts(rule_, pair_.target[prefix], drafted)) {
        const size_t next = pair_.child(prefix, verdict.first);
        const double share = mass * draft.probabilities[i] * part;
        verdict.second ? verify(next, depth + 1, share) : go_on(next, depth + 1, share);
      }
    }
  }

  const Pair& pair_;
  const RejectionRule& rule_;
  std::map<size_t, double> law_;
};

double total_variation(std::map<size_t, double> a, const std::map<size_t, double>& b) {
  for (const auto& [key, mass] : b) a[key] -= mass;
  double sum = 0;
  for (const auto& [key, difference] : a) sum += std::abs(difference) / 2;
  return sum;
}

double error_of(const Pair& pair, const RejectionRule& rule) {
  return total_variation(Enumeration(pair, rule).of_speculation(),
                         Enumeration(pair, rule).of_target());
}

Floats small_row(std::mt19937& generator, size_t n_vocab) {
  Floats row = random_row(generator, n_vocab, generator() % 2 == 0, 2);
  for (float& logit : row) {
    if (generator() % 6 == 0) logit = -kInfinity;
    if (generator() % 12 == 0) logit = -2000;  // a probability that underflows
  }
  row[generator() % n_vocab] = 0.5f;
  return row;
}

template <class T>
T pick(std::mt19937& generator, std::initializer_list<T> choices) {
  return choices.begin()[generator() % choices.size()];
}

SamplingParams random_filters(std::mt19937& generator) {
  SamplingParams params;
  params.temperature = pick(generator, {0.0, 0.5, 1.0, 2.0});
  params.top_k = pick<int64_t>(generator, {0, 0, 1, 2, 3});
  params.top_p = pick(generator, {1.0, 0.9, 0.5});
  params.min_p = pick(generator, {0.0, 0.05, 0.4});
  params.logit_bias = {{0, pick(generator, {0.0f, 1.5f, -kInfinity})}};
  params.repetition_penalty = pick(generator, {1.0, 1.4});
  return params;
}

SamplingParams unfiltered() {
  SamplingParams params;
  params.temperature = 1;
  params.top_k = 0;
  params.top_p = 1;
  return params;
}

// Row of which bias may leave something.
Distribution law_of(const Floats& row, const SamplingParams& params) {
  Distribution law;
  Sampler().distribution({row, params, TokenHistory(Tokens{1})}, law);
  return law;
}

enum class Shown { kFiltered, kUnfiltered };

Pair random_pair(std::mt19937& generator, size_t n_vocab, size_t k,
                 Shown shown = Shown::kFiltered) {
  Pair pair{n_vocab, k, generator() % 4 == 0, {}, {}, {}};
  const SamplingParams params = random_filters(generator);
  for (size_t i = 0; i < pair.n_prefixes(); ++i) {
    Floats target = small_row(generator, n_vocab), draft = small_row(generator, n_vocab);
    if (generator() % 8 == 0) draft = target;
    target[n_vocab - 1] = std::max(target[n_vocab - 1], -1.0f);  // survives any bias
    draft[n_vocab - 1] = std::max(draft[n_vocab - 1], -1.0f);
    pair.target.push_back(law_of(target, params));
    pair.draft.push_back(law_of(draft, params));
    pair.shown.push_back(shown == Shown::kFiltered ? pair.draft.back()
                                                   : law_of(draft, unfiltered()));
  }
  return pair;
}

double largest_error(uint64_t seed, int n_pairs, const RejectionRule& rule,
                     Shown shown = Shown::kFiltered) {
  std::mt19937 generator(static_cast<uint32_t>(seed));
  double largest = 0;
  for (int i = 0; i < n_pairs; ++i) {
    const size_t n_vocab = 2 + generator() % 4;
    // Three guesses over five tokens make 781 laws: rarer, not absent.
    const size_t k = generator() % 8 == 0 ? 3 : 1 + generator() % 2;
    largest = std::max(largest, error_of(random_pair(generator, n_vocab, k, shown), rule));
  }
  return largest;
}

double probability_of(const Distribution& law, int32_t token) {
  const auto at = std::find(law.tokens.begin(), law.tokens.end(), token);
  return at == law.tokens.end() ? 0
                                : law.probabilities[static_cast<size_t>(at - law.tokens.begin())];
}

double total_variation(const Distribution& a, const Distribution& b) {
  double common = 0;
  for (size_t i = 0; i < a.tokens.size(); ++i) {
    common += std::min(a.probabilities[i], probability_of(b, a.tokens[i]));
  }
  return 1 - common;
}

// What draws the next guess for a request with this noise.
int32_t coupled_guess(const Floats& row, const SamplingParams& params, const TokenHistory& history,
                      uint64_t seed, uint64_t position) {
  return Sampler().sample({row, params, history}, TokenNoise(seed, position));
}

}  // namespace

TEST(rejection_has_the_law_of_the_target_exactly) {
  EXPECT(largest_error(1, 6000, accept_by_rejection) <= 1e-12);
}

TEST(enumeration_catches_a_residual_that_is_not_renormalised) {
  const RejectionRule planted = [](const Distribution& target, const DraftedToken& drafted,
                                   const RejectionNoise& noise) -> Verdict {
    const double wanted = probability_of(target, drafted.token);
    const double offered = drafted.law ? probability_of(*drafted.law, drafted.token) : 1;
    if (wanted >= offered || noise.accept.below(wanted / offered)) return {drafted.token, true};
    double sum = 0;
    int32_t token = drafted.token;
    for (size_t i = 0; i < target.tokens.size(); ++i) {
      const int32_t other = target.tokens[i];
      const double covered =
          drafted.law ? probability_of(*drafted.law, other) : (other == drafted.token ? 1 : 0);
      if (target.probabilities[i] <= covered) continue;
      sum += target.probabilities[i] - covered;
      token = other;
      if (noise.residual.below(sum)) break;
    }
    return {token, false};
  };
  EXPECT(largest_error(1, 100, planted) > 1e-2);
}

TEST(enumeration_catches_acceptance_against_the_unfiltered_draft) {
  EXPECT(largest_error(1, 100, accept_by_rejection, Shown::kUnfiltered) > 1e-2);
}

TEST(enumeration_catches_a_replacement_drawn_from_the_target) {
  const RejectionRule planted = [](const Distribution& target, const DraftedToken& drafted,
                                   const RejectionNoise& noise) -> Verdict {
    const Verdict verdict = accept_by_rejection(target, drafted, noise);
    if (verdict.is_draft) return verdict;
    double sum = 0;
    for (size_t i = 0; i + 1 < target.tokens.size(); ++i) {
      sum += target.probabilities[i];
      if (noise.residual.below(sum)) return {target.tokens[i], false};
    }
    return {target.tokens.back(), false};
  };
  EXPECT(largest_error(1, 100, planted) > 1e-2);
}

TEST(rejection_accepts_one_minus_the_total_variation) {
  std::mt19937 generator(2);
  for (int i = 0; i < 300; ++i) {
    const SamplingParams params = random_filters(generator);
    Floats target = small_row(generator, 5), draft = small_row(generator, 5);
    target[4] = draft[4] = 0;
    const Distribution wanted = law_of(target, params), offered = law_of(draft, params);
    double accepted = 0;
    for (size_t j = 0; j < offered.tokens.size(); ++j) {
      const DraftedToken drafted{offered.tokens[j], &offered};
      accepted += offered.probabilities[j] *
                  verdicts(accept_by_rejection, wanted, drafted)[{drafted.token, true}];
    }
    EXPECT(near(accepted, 1 - total_variation(wanted, offered), 1e-12));
  }
}

TEST(rejection_of_greedy_laws_compares_tokens) {
  FixedUniform half(0.5);
  const Distribution three{{3}, {1.0}}, five{{5}, {1.0}};
  const Verdict same = accept_by_rejection(three, {3, &three}, {half, half});
  EXPECT(same.is_draft && same.token == 3);
  const Verdict other = accept_by_rejection(three, {5, &five}, {half, half});
  EXPECT(!other.is_draft && other.token == 3);
  const Verdict sure = accept_by_rejection(three, {5}, {half, half});
  EXPECT(!sure.is_draft && sure.token == 3);
}

TEST(a_residual_lost_to_rounding_keeps_the_draft) {
  FixedUniform late(1 - 0x1p-53);
  const double less = std::nextafter(0.5, 0.0);
  const Distribution target{{1, 2}, {less, 0.5}}, draft{{1, 2}, {0.5, 0.5}};
  FixedUniform never(1.0);
  const Verdict verdict = accept_by_rejection(target, {1, &draft}, {never, late});
  EXPECT(verdict.is_draft && verdict.token == 1);
}

TEST(positions_are_judged_until_one_differs_or_the_request_ends) {
  const Tokens target = {4, 5, 6, 7};
  const auto run = [&](const Tokens& drafted, int32_t last, Tokens& stands) {
    return accept(
        drafted.size(),
        [&](size_t i) -> Verdict {
          if (i == drafted.size()) return {target[i], false};
          return accept_coupled(target[i], drafted[i]);
        },
        [&](int32_t token) {
          stands.push_back(token);
          return token != last;
        });
  };
  Tokens all, some, none, ended, plain;
  EXPECT_EQ(run({4, 5, 6}, -1, all), size_t{3});
  EXPECT(all == target);
  EXPECT_EQ(run({4, 9, 6}, -1, some), size_t{1});
  EXPECT(some == (Tokens{4, 5}));
  EXPECT_EQ(run({9, 5, 6}, -1, none), size_t{0});
  EXPECT(none == Tokens{4});
  EXPECT_EQ(run({4, 5, 6}, 5, ended), size_t{2});
  EXPECT(ended == (Tokens{4, 5}));
  EXPECT_EQ(run({}, -1, plain), size_t{0});
  EXPECT(plain == Tokens{4});
}

// Verifications one after another, each with guesses of random length and origin, against plain
// sampling of the same rows.
TEST(coupled_tokens_are_those_of_plain_sampling) {
  std::mt19937 generator(3);
  Sampler sampler;
  int n_accepted = 0;
  for (int round = 0; round < 400; ++round) {
    const size_t n_vocab = pick<size_t>(generator, {2, 5, 40});
    SamplingParams params = random_filters(generator);
    params.logit_bias.clear();
    params.presence_penalty = pick(generator, {0.0, 0.8});
    params.frequency_penalty = pick(generator, {0.0, 0.3});
    const uint64_t seed = generator();
    std::vector<Floats> rows;
    for (int i = 0; i < 32; ++i) rows.push_back(random_row(generator, n_vocab, false));

    TokenHistory history;
    Tokens plain;
    for (size_t i = 0; i < rows.size(); ++i) {
      plain.push_back(sampler.sample({rows[i], params, history}, TokenNoise(seed, i)));
      history.push(plain.back());
    }

    Tokens tokens;
    TokenHistory speculated;
    while (tokens.size() < rows.size()) {
      const size_t first = tokens.size();
      Tokens guesses;
      const size_t k = std::min<size_t>(generator() % 9, rows.size() - first - 1);
      for (size_t i = 0; i < k; ++i) {
        const Floats& row = generator() % 4 == 0 ? rows[generator() % 32] : rows[first + i];
        guesses.push_back(coupled_guess(row, params, speculated, seed, first + i));
      }
      n_accepted += static_cast<int>(accept(
          k,
          [&](size_t i) {
            const SampleRow row{rows[first + i], params, speculated};
            const DraftedToken drafted{i < k ? guesses[i] : -1};
            return judge({row, seed, first + i}, i < k ? &drafted : nullptr,
                         SpeculativeMethod::kCoupled, sampler);
          },
          [&](int32_t token) {
            tokens.push_back(token);
            speculated.push(token);
            return true;
          }));
    }
    EXPECT(tokens == plain);
  }
  EXPECT(n_accepted > 2000);
}

TEST(coupled_acceptance_is_at_least_what_the_total_variation_allows) {
  std::mt19937 generator(4);
  const TokenHistory history;
  constexpr int kDraws = 4000;
  for (int i = 0; i < 40; ++i) {
    SamplingParams params = random_filters(generator);
    params.logit_bias.clear();
    params.repetition_penalty = 1;
    const Floats target = random_row(generator, 20, false, 1.5f);
    Floats draft = target;
    for (float& logit : draft) logit += std::normal_distribution<float>(0, 0.7f)(generator);
    const double variation = total_variation(law_of(target, params), law_of(draft, params));
    int agreed = 0;
    for (uint64_t position = 0; position < kDraws; ++position) {
      const int32_t drawn = coupled_guess(target, params, history, 9, position);
      const int32_t guess = coupled_guess(draft, params, history, 9, position);
      agreed += accept_coupled(drawn, guess).is_draft ? 1 : 0;
    }
    // Four standard deviations below the bound at most.
    EXPECT(agreed / double{kDraws} >=
           (1 - variation) / (1 + variation) - 4 * std::sqrt(0.25 / kDraws));
  }
}

// The noise of positions and uses as the engine keys it: pairs of tokens, of which the first may
// come from a draft, follow the product of their laws.
TEST(rejection_with_counter_noise_follows_the_law) {
  std::mt19937 generator(5);
  const Floats target = random_row(generator, 6, false, 1),
               draft = random_row(generator, 6, false, 1);
  const SamplingParams params = unfiltered();
  const TokenHistory history;
  const Distribution wanted = law_of(target, params), offered = law_of(draft, params);
  Sampler sampler;
  constexpr int kRuns = 40000;
  std::map<std::pair<int32_t, int32_t>, int> counts;
  for (uint64_t seed = 0; seed < kRuns; ++seed) {
    Tokens tokens;
    while (tokens.size() < 2) {
      Tokens guesses;
      for (size_t i = tokens.size(); i < 2; ++i) {
        guesses.push_back(
            sampler.sample({draft, params, history}, TokenNoise(seed, i, NoiseUse::kDraft)));
      }
      const size_t first = tokens.size();
      accept(
          guesses.size(),
          [&](size_t i) {
            const DraftedToken drafted{i < guesses.size() ? guesses[i] : -1, &offered};
            return judge({{target, params, history}, seed, first + i},
                         i < guesses.size() ? &drafted : nullptr, SpeculativeMethod::kRejection,
                         sampler);
          },
          [&](int32_t token) {
            tokens.push_back(token);
            return true;
          });
    }
    ++counts[{tokens[0], tokens[1]}];
  }
  double statistic = 0;
  for (size_t i = 0; i < 6; ++i) {
    for (size_t j = 0; j < 6; ++j) {
      const double expected = kRuns * wanted.probabilities[i] * wanted.probabilities[j];
      const double n = counts[{wanted.tokens[i], wanted.tokens[j]}];
      statistic += (n - expected) * (n - expected) / expected;
    }
  }
  EXPECT(total_variation(wanted, offered) > 0.2);
  EXPECT(statistic < 66.6);  // 35 degrees of freedom: p > 1e-3
}
