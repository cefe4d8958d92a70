// Too many requests for too few blocks, a thousand that nobody waits for, and many threads at once.
#include <algorithm>
#include <atomic>
#include <thread>

#include "cpp/engine_world.h"
#include "cpp/harness.h"

using namespace realm;
using namespace realm::test;
using std::chrono::milliseconds;

namespace {

RequestOptions request(Random& random, int64_t n_prompt, int64_t max_tokens) {
  RequestOptions options;
  options.prompt = random_tokens(random, n_prompt, 96);
  options.params.max_tokens = max_tokens;
  options.params.seed = random();
  options.params.ignore_eos = true;
  return options;
}

uint64_t bytes_of(Model& model, int64_t n_pages, KvType type = KvType::kF16) {
  const auto page = KvStorage::page_bytes(model.backend(), model.config(), type);
  return static_cast<uint64_t>(n_pages) * (page.global + page.window);
}

}  // namespace

TEST(thirty_two_requests_go_through_a_pool_that_holds_six) {
  const auto model = golden("forward/llama-ragged");
  Random random(1);
  std::vector<RequestOptions> asked;
  for (int i = 0; i < 32; ++i) asked.push_back(request(random, 20, 60));
  // 80 tokens are 5 blocks each.
  Engine engine(
      model,
      {.kv_bytes = bytes_of(*model, 6 * 5), .record_logits_hash = true, .poison_blocks = true});
  std::vector<std::shared_ptr<Request>> requests;
  for (const auto& options : asked) requests.push_back(engine.submit(options));
  int64_t n_preempted = 0;
  for (size_t i = 0; i < asked.size(); ++i) {
    EXPECT(answer_of(*requests[i]) == alone(model, asked[i], KvType::kF16));
    n_preempted += requests[i]->report().n_preempted;
  }
  EXPECT(n_preempted > 0);
  EXPECT_EQ(engine.stats().preempted, static_cast<uint64_t>(n_preempted));
  EXPECT_EQ(engine.stats().kv_blocks_used, 0);
}

TEST(sliding_windows_hold_long_answers_in_few_blocks) {
  const auto model = golden("forward/mistral-window");
  const ModelConfig& config = model->config();
  Random random(2);
  const int64_t length = config.n_ctx - 20;
  const RequestOptions options = request(random, 20, length);
  const int64_t needed = (config.window + 16 + 15) / 16 + 1;
  EXPECT(needed < config.n_ctx / 16);
  Engine engine(model, {.max_step_tokens = 16,
                        .kv_bytes = bytes_of(*model, needed),
                        .record_logits_hash = true,
                        .poison_blocks = true});
  EXPECT_EQ(engine.stats().kv_blocks_total, needed);
  EXPECT(answer_of(*engine.submit(options)) == alone(model, options, KvType::kF16));
}

TEST(a_thousand_cancelled_requests_give_their_blocks_back_within_two_steps) {
  const auto model = golden("forward/llama-ragged");
  Engine engine(model,
                {.max_sequences = 16, .max_step_tokens = 64, .kv_bytes = bytes_of(*model, 60)});
  Random random(3);
  struct Live {
    std::shared_ptr<Request> request;
    uint64_t cancelled_at;
  };
  std::vector<Live> all;
  std::vector<uint64_t> waits;
  for (int i = 0; i < 1000; ++i) {
    all.push_back({engine.submit(request(random, between(random, 1, 90), 30)), 0});
    // One of the last few: it waits, computes its prompt, or answers.
    Live& one = all[all.size() - 1 - static_cast<size_t>(between(random, 0, std::min(i, 20)))];
    if (one.cancelled_at == 0) {
      one.cancelled_at = engine.stats().steps + 1;
      one.request->cancel();
    }
    if (between(random, 0, 3) == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(between(random, 0, 1500)));
    }
  }
  for (Live& one : all) {
    if (one.cancelled_at != 0) continue;
    one.cancelled_at = engine.stats().steps + 1;
    one.request->cancel();
  }
  for (const Live& one : all) {
    answer_of(*one.request);
    const RequestReport report = one.request->report();
    if (report.finish->reason != FinishReason::kCancelled) continue;  // it was done before
    waits.push_back(report.finished_step - std::min(report.finished_step, one.cancelled_at - 1));
  }
  std::ranges::sort(waits);
  EXPECT(waits.size() > 500);
  EXPECT(waits[waits.size() * 99 / 100] < 2);
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.kv_blocks_used, 0);
  EXPECT_EQ(stats.active_requests, 0);
  EXPECT(stats.cancelled == waits.size());
}

TEST(many_threads_share_an_engine) {
  const auto model = golden("forward/llama-ragged");
  Engine engine(model,
                {.max_sequences = 8, .kv_bytes = bytes_of(*model, 40), .record_logits_hash = true});
  const auto mailbox = std::make_shared<Mailbox>();
  std::atomic<int> n_wrong{0};
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 6; ++seed) {
    threads.emplace_back([&, seed] {
      Random random(seed);
      for (int i = 0; i < 4; ++i) {
        const RequestOptions options = request(random, between(random, 1, 40), 15);
        const auto submitted = engine.submit(options, seed % 2 ? mailbox : nullptr);
        Answer got;
        while (submitted->state() != RequestState::kFinished) {
          submitted->wait(milliseconds(5));
          add(got, submitted->take());
          engine.stats();
          mailbox->take();
        }
        add(got, submitted->take());
        got.hash = submitted->report().logits_hash;
        n_wrong += !(got == alone(model, options, KvType::kF16));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(n_wrong.load(), 0);
}

TEST(two_engines_share_a_model) {
  const auto model = golden("forward/gemma3-global-layer");
  Engine one(model, {.record_logits_hash = true}),
      other(model, {.max_step_tokens = 16, .kv_type = KvType::kF32, .record_logits_hash = true});
  Random random(4);
  for (int i = 0; i < 4; ++i) {
    const RequestOptions options = request(random, 40, 20);
    const auto first = one.submit(options), second = other.submit(options);
    EXPECT(answer_of(*first) == alone(model, options, KvType::kF16));
    EXPECT(answer_of(*second) == alone(model, options, KvType::kF32));
  }
}
