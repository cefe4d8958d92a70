// The runner with guesses: several rows of a request are verified in one forward, and what is
// guessed, rightly or wrongly, changes how many forwards an answer takes and nothing else.
#include <algorithm>
#include <list>

#include "cpp/engine_world.h"
#include "cpp/harness.h"
#include "engine/runner.h"

using namespace realm;
using namespace realm::test;

namespace {

// What is guessed of the next tokens, given the true ones.
using Guess = std::function<Tokens(std::span<const int32_t> next)>;

struct Ride {
  RequestOptions options;
  Answer expected;
  Guess guess;
  Answer got{};
};

// Lets requests run to their end together; the number of forwards.
int64_t run_together(const std::shared_ptr<Model>& model, std::vector<Ride>& rides) {
  const ModelConfig& config = model->config();
  const KvPages pages{40, 40};
  KvSpace space({.block_tokens = model->backend().kv_page_tokens(),
                 .window = config.window,
                 .n_global_blocks = pages.global,
                 .n_window_blocks = pages.window,
                 .max_chunk = 32});
  Scheduler scheduler({.max_sequences = 8, .max_step_tokens = 32, .max_wanted = 24}, space);
  Runner runner(model,
                {.max_rows = 32,
                 .max_wanted = 24,
                 .kv_type = KvType::kF16,
                 .pages = pages,
                 .hash_logits = true,
                 .poison_blocks = true,
                 .after_forward = {}},
                space);
  std::list<Sequence> sequences;
  for (const Ride& ride : rides) {
    const auto& params = ride.options.params;
    const auto n_prompt = std::ssize(ride.options.prompt);
    const int64_t length = planned_length(n_prompt, params.max_tokens, config.n_ctx);
    sequences.push_back(
        {.request = nullptr,
         .generation = {model->vocabulary(), params, *params.seed, ride.options.prompt, length},
         .kv = {space, Namespace{}, chain_root({}, {})},
         .order = sequences.size(),
         .max_length = length,
         .submitted_at = {}});
    scheduler.add(sequences.back());
  }
  const std::atomic<bool> never{false};
  int64_t n_forwards = 0;
  for (;;) {
    auto ride = rides.begin();
    for (Sequence& sequence : sequences) {
      Ride& one = *ride++;
      if (!sequence.is_running || !sequence.is_decoding()) continue;
      const auto n_done = static_cast<size_t>(sequence.generation.n_generated());
      sequence.draft = one.guess(std::span(one.expected.tokens).subspan(n_done));
    }
    const auto work = scheduler.plan({});
    if (work.empty()) break;
    runner.run(work, never);
    ++n_forwards;
    for (size_t i = 0; i < work.size(); ++i) {
      Sequence& sequence = *work[i].sequence;
      const bool has_guesses = sequence.n_drafted() > 0;
      Piece piece;
      runner.accept(work[i], i, piece);
      // What was held for guesses that do not stand is given back.
      const int64_t n_blocks = space.global_blocks_for(sequence.n_computed);
      if (has_guesses) EXPECT_EQ(std::ssize(sequence.kv.global_blocks()), n_blocks);
      Answer& got = rides[sequence.order].got;
      add(got, std::move(piece));
      got.text += sequence.generation.take_text();
      got.hash = sequence.logits_hash;
      if (!sequence.generation.finish()) continue;
      got.reason = sequence.generation.finish()->reason;
      scheduler.remove(sequence);
    }
  }
  EXPECT_EQ(space.n_used(), 0);
  return n_forwards;
}

std::vector<Ride> random_rides(const std::shared_ptr<Model>& model, unsigned seed, int64_t n,
                               const Guess& guess) {
  Random random(seed);
  std::vector<Ride> rides;
  for (int64_t i = 0; i < n; ++i) {
    RequestOptions options;
    options.prompt = random_tokens(random, between(random, 1, 40), model->config().n_vocab);
    options.params.max_tokens = 24;
    options.params.temperature = static_cast<double>(between(random, 0, 2));
    options.params.frequency_penalty = 0.3;
    options.params.seed = random();
    options.params.ignore_eos = true;
    rides.push_back({options, alone(model, options, KvType::kF16), guess});
  }
  return rides;
}

Tokens first_of(std::span<const int32_t> tokens, size_t n) {
  const auto some = tokens.first(std::min(n, tokens.size()));
  return {some.begin(), some.end()};
}

bool all_right(const std::vector<Ride>& rides) {
  return std::ranges::all_of(rides, [](const Ride& ride) { return ride.got == ride.expected; });
}

}  // namespace

TEST(guesses_right_or_wrong_never_change_an_answer) {
  for (const char* name : {"forward/llama-ragged", "forward/gemma3-global-layer",
                           "forward/mistral-window", "forward/qwen2moe-ties"}) {
    const auto model = golden(name);
    for (unsigned seed = 0; seed < 4; ++seed) {
      Random random(seed);
      const Guess guess = [&](std::span<const int32_t> next) {
        Tokens guesses = first_of(next, static_cast<size_t>(between(random, 0, 6)));
        for (int32_t& token : guesses) {
          if (between(random, 0, 3) == 0) token = static_cast<int32_t>(between(random, 0, 95));
        }
        return guesses;
      };
      auto rides = random_rides(model, seed, 5, guess);
      run_together(model, rides);
      EXPECT(all_right(rides));
    }
  }
}

TEST(right_guesses_save_forwards) {
  const auto model = golden("forward/llama-ragged");
  const auto forwards_with = [&](const Guess& guess) {
    auto rides = random_rides(model, 1, 1, guess);
    const int64_t n = run_together(model, rides);
    EXPECT(all_right(rides));
    return n;
  };
  const int64_t plain = forwards_with([](auto) { return Tokens(); });
  const int64_t right = forwards_with([](auto next) { return first_of(next, 5); });
  const int64_t wrong = forwards_with([](auto next) {
    Tokens guesses = first_of(next, 5);
    for (int32_t& token : guesses) token = (token + 1) % 96;
    return guesses;
  });
  EXPECT_EQ(wrong, plain);
  EXPECT_EQ(right, plain - 24 + 1 + (24 - 1 + 5) / 6);
}

TEST(guesses_end_where_the_context_ends) {
  const auto model = golden("forward/llama-ragged");
  const int64_t n_ctx = model->config().n_ctx;
  auto rides = random_rides(model, 3, 1, [](auto) { return Tokens(6, 1); });
  Random random(5);
  rides[0].options.prompt = random_tokens(random, n_ctx - 3, 96);
  rides[0].expected = alone(model, rides[0].options, KvType::kF16);
  run_together(model, rides);
  EXPECT(all_right(rides));
  EXPECT_EQ(std::ssize(rides[0].got.tokens), 4);
}
