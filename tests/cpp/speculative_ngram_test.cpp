// Guesses from repetitions: what is found, against a slow search; what is bounded.
#include <chrono>
#include <random>
#include <vector>

#include "cpp/harness.h"
#include "engine/speculative/ngram.h"

using namespace realm;
using namespace realm::test;

namespace {

using Tokens = std::vector<int32_t>;

Tokens guesses(NgramIndex& index, const Tokens& text, int64_t n_wanted = 4) {
  Tokens out;
  index.propose(text, n_wanted, out);
  return out;
}

Tokens guesses(const Tokens& text, int64_t n_wanted = 4) {
  NgramIndex index;
  return guesses(index, text, n_wanted);
}

// The place after the longest repetition of the text's end, the latest of equals, by trying all.
size_t slow_match(const Tokens& text) {
  size_t best = 0;
  int64_t longest = NgramIndex::kMinMatch - 1;
  for (size_t place = text.size() - 1; place >= 2; --place) {
    int64_t length = 0;
    while (length < NgramIndex::kMaxMatch && static_cast<size_t>(length) < place &&
           text[place - 1 - static_cast<size_t>(length)] ==
               text[text.size() - 1 - static_cast<size_t>(length)]) {
      ++length;
    }
    if (length > longest) longest = length, best = place;
  }
  return best;
}

struct Fixture {
  SpeculativeConfig config;
  SamplingParams params;
  TokenHistory history;
  Namespace space{};

  DraftRequest request(uint64_t id, const Tokens& tokens, int64_t n_wanted) const {
    return {id, tokens, n_wanted, config, params, history, 1, 1000, space};
  }
};

}  // namespace

TEST(what_followed_the_last_tokens_is_guessed) {
  EXPECT(guesses({1, 2, 3, 4, 5, 6, 9, 1, 2}) == (Tokens{3, 4, 5, 6}));
  EXPECT(guesses({1, 2, 3, 4, 5, 6, 9, 1, 2}, 2) == (Tokens{3, 4}));
}

TEST(the_longest_repetition_wins_and_then_the_latest) {
  EXPECT(guesses({7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2}, 1) == Tokens{3});
  EXPECT(guesses({6, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2}, 1) == Tokens{4});
}

TEST(a_text_without_repetition_has_no_guess) {
  EXPECT(guesses({}).empty());
  EXPECT(guesses({1}).empty());
  EXPECT(guesses({1, 1}).empty());
  EXPECT(guesses({1, 2, 3, 4, 2}).empty());
}

TEST(a_repetition_that_reaches_the_end_goes_on_with_itself) {
  EXPECT(guesses({5, 5, 5}) == (Tokens{5, 5, 5, 5}));
  EXPECT(guesses({1, 2, 3, 1, 2, 3, 1, 2}, 7) == (Tokens{3, 1, 2, 3, 1, 2, 3}));
}

TEST(an_index_that_grows_equals_a_slow_search) {
  std::mt19937 generator(1);
  int n_found = 0;
  for (int round = 0; round < 400; ++round) {
    // Too many tokens for any pair to have more places than are looked at.
    const uint32_t n_vocab = 100 + generator() % 100;
    NgramIndex index;
    Tokens text;
    while (text.size() < 150) {
      const size_t n_copied = generator() % 2 == 0 ? generator() % 20 : 0;
      const size_t from = text.size() < 30 ? text.size() : generator() % (text.size() - 25);
      for (size_t i = 0; i < n_copied && from + i < text.size(); ++i)
        text.push_back(text[from + i]);
      for (size_t i = generator() % 3; i > 0; --i) {
        text.push_back(static_cast<int32_t>(generator() % n_vocab));
      }
      const size_t match = text.size() > 2 ? slow_match(text) : 0;
      const Tokens found = guesses(index, text, 1);
      if (match == 0) {
        EXPECT(found.empty());
        continue;
      }
      ++n_found;
      EXPECT_EQ(found.size(), size_t{1});
      EXPECT_EQ(found.at(0), text[match]);
    }
  }
  EXPECT(n_found > 1000);
}

TEST(a_million_tokens_of_any_text_cost_little_time_and_memory) {
  constexpr size_t kTokens = 1 << 20;
  std::mt19937 generator(2);
  for (const int32_t n_vocab : {1, 2, 30000}) {
    Tokens text(kTokens);
    for (int32_t& token : text) token = static_cast<int32_t>(generator()) & 0x7fffffff;
    for (int32_t& token : text) token %= n_vocab;
    NgramIndex index;
    const auto start = std::chrono::steady_clock::now();
    Tokens out;
    for (size_t n = kTokens / 2; n <= kTokens; n += 64) {
      out.clear();
      index.propose(std::span(text).first(n), 8, out);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT(seconds.count() < 2);
    EXPECT(index.bytes() <= 16 * kTokens);
  }
}

TEST(requests_do_not_see_each_other_and_leave_nothing) {
  Fixture fixture;
  NgramDrafter drafter;
  const Tokens a = {1, 2, 3, 1, 2}, b = {1, 2, 4, 9, 1, 2};
  const DraftRequest requests[] = {fixture.request(7, a, 1), fixture.request(8, b, 1)};
  std::vector<Draft> drafts(2);
  drafter.propose(requests, drafts);
  EXPECT(drafts[0].tokens == Tokens{3});
  EXPECT(drafts[1].tokens == Tokens{4});
  EXPECT(drafts[0].laws.empty() && drafts[0].failure.empty());
  EXPECT(drafter.bytes() > 0);
  drafter.settle(7, 1);
  drafter.forget(7);
  drafter.forget(8);
  drafter.forget(9);
  EXPECT_EQ(drafter.bytes(), uint64_t{0});
}
