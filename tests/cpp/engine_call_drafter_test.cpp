// Drafters of the embedding program: what they say is taken, and neither silence nor exceptions
// reach beyond their request.
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cpp/harness.h"
#include "engine/speculative/call_drafter.h"

using namespace realm;
using namespace realm::test;

namespace {

using Tokens = std::vector<int32_t>;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

Draft ask(CallDrafter& drafter, const Tokens& tokens, int64_t n_wanted = 2) {
  const SpeculativeConfig config;
  const SamplingParams params;
  const TokenHistory history;
  const Namespace space{};
  const DraftRequest request{1, tokens, n_wanted, config, params, history, 1, 100, space};
  Draft draft;
  drafter.propose({&request, 1}, {&draft, 1});
  return draft;
}

}  // namespace

TEST(a_function_guesses_from_tokens_and_number) {
  CallDrafter drafter(
      [](Tokens tokens, int64_t n) { return Tokens(static_cast<size_t>(n), tokens.back()); },
      milliseconds(10000));
  EXPECT(ask(drafter, {4, 5, 6}, 3).tokens == (Tokens{6, 6, 6}));
  EXPECT(ask(drafter, {7}, 1).tokens == Tokens{7});
  EXPECT(ask(drafter, {7}, 0).delay == "the drafter had no guess");
}

TEST(an_exception_is_a_failure_with_its_text_and_the_next_call_goes_on) {
  int n_calls = 0;
  CallDrafter drafter(
      [&](Tokens, int64_t) -> Tokens {
        if (++n_calls == 1) throw std::runtime_error("KeyError: 3");
        return {1};
      },
      milliseconds(10000));
  EXPECT_EQ(ask(drafter, {1}).failure, "the drafter raised KeyError: 3");
  EXPECT(ask(drafter, {1}).tokens == Tokens{1});
}

TEST(a_function_that_does_not_return_costs_its_limit_once_and_nobody_hangs) {
  struct Gate {
    std::mutex mutex;
    std::condition_variable opened;
    bool is_open = false;
  };
  const auto gate = std::make_shared<Gate>();
  const auto start = steady_clock::now();
  {
    CallDrafter drafter(
        [gate](Tokens, int64_t) -> Tokens {
          std::unique_lock lock(gate->mutex);
          gate->opened.wait(lock, [&] { return gate->is_open; });
          return {1};
        },
        milliseconds(30));
    EXPECT_EQ(ask(drafter, {1}).failure, "the drafter took longer than 30 ms");
    for (int i = 0; i < 1000; ++i) {
      EXPECT_EQ(ask(drafter, {1}).failure, "the drafter has not come back from an earlier call");
    }
  }
  EXPECT(steady_clock::now() - start < milliseconds(5000));
  const std::lock_guard lock(gate->mutex);
  gate->is_open = true;
  gate->opened.notify_all();
}

TEST(a_late_answer_is_not_taken_for_the_next_question) {
  std::atomic<bool> is_slow{true};
  std::atomic<int> n_returned{0};
  CallDrafter drafter(
      [&](Tokens tokens, int64_t) {
        while (is_slow) std::this_thread::sleep_for(milliseconds(1));
        ++n_returned;
        return tokens;
      },
      milliseconds(20));
  EXPECT(!ask(drafter, {1}).failure.empty());
  is_slow = false;
  Draft draft;
  for (int i = 0; i < 2000 && draft.tokens.empty(); ++i) {
    std::this_thread::sleep_for(milliseconds(1));
    draft = ask(drafter, {2});
  }
  EXPECT(draft.tokens == Tokens{2});
}
