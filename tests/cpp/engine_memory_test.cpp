// When memory runs out on the engine's thread, wherever that is: some request may fail with a typed
// error, the others get their answers, no block is lost, and the engine serves the next one. Every
// allocation of a run with everything in it is made to fail once.
#include <algorithm>
#include <cstdlib>
#include <new>

#include "cpp/engine_world.h"
#include "cpp/harness.h"

namespace {

// Allocations of this thread that still succeed; negative: all do.
thread_local int64_t allocations_left = -1;
thread_local bool has_failed = false;

}  // namespace

[[gnu::noinline]] void* operator new(size_t bytes) {
  if (allocations_left == 0) {
    allocations_left = -1;
    has_failed = true;
    throw std::bad_alloc();
  }
  if (allocations_left > 0) --allocations_left;
  if (void* memory = std::malloc(bytes ? bytes : 1)) return memory;
  throw std::bad_alloc();
}

[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return std::malloc(bytes ? bytes : 1);
}

[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}

[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

using namespace realm;
using namespace realm::test;

namespace {

RequestOptions request(unsigned seed, int64_t n_prompt, int64_t max_tokens) {
  Random random(seed);
  RequestOptions options;
  options.prompt = random_tokens(random, n_prompt, 96);
  options.params.max_tokens = max_tokens;
  options.params.frequency_penalty = 0.2;
  options.params.logprobs = 2;
  options.params.seed = seed;
  options.params.ignore_eos = true;
  return options;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kStride = 9;
#else
constexpr int64_t kStride = 1;
#endif

struct Run {
  bool was_reached = false;  // the allocation that was to fail
  int64_t n_failed = 0;
};

// Prompts in chunks, blocks that run out, prefixes found again, news for a mailbox: with the n-th
// allocation after the first step failing.
Run run_with_failure(const std::shared_ptr<Model>& model, const std::vector<RequestOptions>& asked,
                     const std::vector<Answer>& expected, int64_t n) {
  const auto page = KvStorage::page_bytes(model->backend(), model->config(), KvType::kF16);
  Run run;
  std::atomic<bool> was_reached{false};
  int64_t n_steps = 0;
  Engine engine(model,
                {.max_sequences = 3,
                 .max_step_tokens = 16,
                 .kv_bytes = 7 * page.global,
                 .record_logits_hash = true},
                [&](const StepBatch&, std::span<float>) {
                  if (++n_steps == 1) allocations_left = n;
                  if (has_failed) was_reached = true;
                });
  const auto mailbox = std::make_shared<Mailbox>();
  std::vector<std::shared_ptr<Request>> requests;
  for (const RequestOptions& options : asked) requests.push_back(engine.submit(options, mailbox));
  for (size_t i = 0; i < asked.size(); ++i) {
    const Answer answer = answer_of(*requests[i]);
    if (answer.reason != FinishReason::kError) {
      EXPECT(answer == expected[i]);
      continue;
    }
    ++run.n_failed;
    EXPECT(requests[i]->report().finish->error->code() == ErrorCode::kOutOfMemory);
  }
  run.was_reached = was_reached;
  Answer next = answer_of(*engine.submit(asked[0]));
  if (!run.was_reached && next.reason == FinishReason::kError) {  // it was hit instead
    next = answer_of(*engine.submit(asked[0]));
  }
  EXPECT(next == expected[0]);
  EXPECT_EQ(engine.stats().kv_blocks_used, 0);
  EXPECT_EQ(engine.stats().active_requests, 0);
  EXPECT(!mailbox->take().empty());
  return run;
}

}  // namespace

TEST(an_allocation_that_fails_anywhere_costs_those_in_the_step_at_most) {
  const auto model = golden("forward/llama-ragged");
  std::vector<RequestOptions> asked;
  std::vector<Answer> expected;
  for (unsigned seed = 0; seed < 5; ++seed) {
    asked.push_back(request(seed / 2, 20 + seed, 25));
    expected.push_back(alone(model, asked.back(), KvType::kF16));
  }
  int64_t n_reached = 0, n_harmless = 0;
  // Nearly all of the first steps, some of the later ones.
  for (int64_t n = 0;; n += kStride + n / 200) {
    const Run run = run_with_failure(model, asked, expected, n);
    if (!run.was_reached) break;
    ++n_reached;
    n_harmless += run.n_failed == 0;
    if (run.n_failed > 3) test::report_failure(__FILE__, __LINE__, concat("allocation ", n));
  }
  EXPECT(n_reached > 50);
  EXPECT(n_harmless < n_reached);
}
