// What an engine tells: pieces, mailboxes for event loops, statistics, and what the cache saved.
#include <algorithm>
#include <cmath>
#include <poll.h>
#include <set>
#include <thread>

#include "cpp/engine_world.h"
#include "cpp/harness.h"
#include "engine/kv_sizing.h"

using namespace realm;
using namespace realm::test;

namespace {

const auto& model() {
  static const auto loaded = golden("forward/llama-ragged");
  return loaded;
}

RequestOptions request(int64_t n_prompt, int64_t max_tokens, unsigned seed = 1) {
  Random random(seed);
  RequestOptions options;
  options.prompt = random_tokens(random, n_prompt, 96);
  options.params.max_tokens = max_tokens;
  options.params.seed = seed;
  options.params.ignore_eos = true;
  return options;
}

bool is_readable(int fd, int timeout_ms) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, timeout_ms) == 1;
}

Namespace space_of(int number) {
  Namespace space{};
  space[0] = static_cast<std::byte>(number);
  return space;
}

// How many tokens of its prompt a request finds in the cache.
int64_t n_cached(Engine& engine, const RequestOptions& options) {
  const auto submitted = engine.submit(options);
  EXPECT(answer_of(*submitted) == alone(engine.model(), options, KvType::kF16));
  return submitted->report().n_cached;
}

}  // namespace

TEST(a_mailbox_names_every_request_with_news) {
  Engine engine(model(), {});
  const auto mailbox = std::make_shared<Mailbox>();
  EXPECT(!is_readable(mailbox->fd(), 0));
  std::map<std::shared_ptr<Request>, Answer> answers;
  std::vector<RequestOptions> asked;
  std::vector<std::shared_ptr<Request>> requests;
  for (unsigned seed = 0; seed < 5; ++seed) {
    asked.push_back(request(10, 12, seed));
    requests.push_back(engine.submit(asked.back(), mailbox));
  }
  std::set<std::shared_ptr<Request>> ended;
  while (ended.size() < requests.size() && is_readable(mailbox->fd(), 5000)) {
    for (const auto& one : mailbox->take()) {
      Piece piece = one->take();
      if (piece.finish) ended.insert(one);
      add(answers[one], std::move(piece));
    }
  }
  EXPECT_EQ(ended.size(), 5u);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT(answers[requests[i]].tokens == alone(model(), asked[i], KvType::kF16).tokens);
  }
  EXPECT(!is_readable(mailbox->fd(), 0));
}

TEST(a_mailbox_that_nobody_reads_holds_each_request_once) {
  Engine engine(model(), {});
  const auto mailbox = std::make_shared<Mailbox>();
  std::weak_ptr<Request> seen;
  {
    const auto submitted = engine.submit(request(10, 50), mailbox);
    seen = submitted;
    answer_of(*submitted);
  }
  engine.close();
  EXPECT_EQ(mailbox->take().size(), 1u);
  EXPECT(seen.expired());
}

TEST(a_dropped_request_still_runs_and_is_freed) {
  Engine engine(model(), {});
  std::weak_ptr<Request> dropped = engine.submit(request(10, 5));
  for (int i = 0; i < 2000 && !dropped.expired(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT(dropped.expired());
  EXPECT_EQ(engine.stats().tokens_generated, 5u);
}

TEST(pieces_put_together_are_the_answer) {
  Engine engine(demo(), {.record_logits_hash = true});
  RequestOptions options = request(10, 40);
  options.params.stop = {"zzzz"};
  const auto submitted = engine.submit(options);
  Answer got;
  int n_pieces = 0;
  while (submitted->wait(std::chrono::seconds(10))) {
    add(got, submitted->take());
    ++n_pieces;
  }
  got.hash = submitted->report().logits_hash;
  EXPECT(got == alone(engine.model(), options, KvType::kF16));
  EXPECT(n_pieces >= 1);
  EXPECT(!submitted->wait(std::chrono::milliseconds(0)));
}

TEST(a_shared_beginning_is_computed_once) {
  Engine engine(model(), {.record_logits_hash = true, .poison_blocks = true});
  const RequestOptions options = request(70, 10);
  EXPECT_EQ(n_cached(engine, options), 0);
  EXPECT_EQ(n_cached(engine, options), 64);
  RequestOptions longer = options;
  longer.prompt.resize(90, 5);
  EXPECT_EQ(n_cached(engine, longer), 64);
  RequestOptions other = options;
  other.prompt[40] ^= 1;
  EXPECT_EQ(n_cached(engine, other), 32);
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.prefix_hits, 3u);
  EXPECT_EQ(stats.prefix_tokens, 160u);
  EXPECT(stats.kv_blocks_cached > 0);
}

TEST(namespaces_and_adapters_share_nothing) {
  Engine engine(model(), {.record_logits_hash = true});
  RequestOptions options = request(70, 2);
  n_cached(engine, options);
  options.space = space_of(1);
  EXPECT_EQ(n_cached(engine, options), 0);
  EXPECT_EQ(n_cached(engine, options), 64);
  options.adapters[5] = std::byte{1};
  EXPECT_EQ(n_cached(engine, options), 0);
}

TEST(long_and_short_rope_factors_share_nothing) {
  const auto longrope = golden("forward/phi3-longrope");
  const int64_t original = longrope->config().rope.original_context;
  EXPECT(original < longrope->config().n_ctx);
  Engine engine(longrope, {.record_logits_hash = true});
  const int64_t n_prompt = original - 2;
  EXPECT(n_prompt > 16);
  EXPECT_EQ(n_cached(engine, request(n_prompt, 1)), 0);
  EXPECT_EQ(n_cached(engine, request(n_prompt, 10)), 0);
  EXPECT(n_cached(engine, request(n_prompt, 10)) > 0);
}

TEST(a_cache_that_is_turned_off_reuses_nothing) {
  Engine engine(model(), {.prefix_cache = false, .record_logits_hash = true});
  n_cached(engine, request(70, 5));
  EXPECT_EQ(n_cached(engine, request(70, 5)), 0);
  EXPECT_EQ(engine.stats().kv_blocks_cached, 0);
}

TEST(statistics_add_up) {
  Engine engine(model(), {.max_sequences = 4});
  std::vector<std::shared_ptr<Request>> requests;
  for (unsigned seed = 0; seed < 6; ++seed)
    requests.push_back(engine.submit(request(20, 10, seed)));
  for (const auto& one : requests) answer_of(*one);
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.total_requests, 6u);
  EXPECT_EQ(stats.active_requests + stats.waiting + stats.running, 0);
  EXPECT_EQ(stats.tokens_generated, 60u);
  EXPECT_EQ(stats.prompt_tokens, 120u);
  EXPECT(std::abs(stats.average_sequence_length - 30) < 1e-9);
  uint64_t n_steps = 0, n_rows = 0;
  for (size_t n = 0; n < stats.batch_widths.size(); ++n) {
    n_steps += stats.batch_widths[n];
    n_rows += n * stats.batch_widths[n];
  }
  EXPECT_EQ(n_steps, stats.steps);
  EXPECT_EQ(n_rows, 60u);  // each prompt in one chunk that gives the first token
  EXPECT_EQ(stats.time_to_first_token.count(), 6u);
  EXPECT_EQ(stats.inter_token_latency.count(), 54u);
  EXPECT(stats.step_seconds > 0);
  const RequestReport report = requests[5]->report();
  EXPECT(report.started_ns > 0 && report.started_ns <= report.first_token_ns);
  EXPECT(report.first_token_ns <= report.finished_ns);
}

TEST(quantiles_are_within_their_buckets) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.quantile(0.5), 0.0);
  for (int64_t us = 1; us <= 1000; ++us) histogram.add(us * 1000);
  for (const double q : {0.1, 0.5, 0.9, 0.99}) {
    EXPECT(std::abs(histogram.quantile(q) - q * 1e-3) < 0.13 * q * 1e-3);
  }
  EXPECT_EQ(histogram.quantile(1.0), histogram.max());
  histogram.add(-5);
  histogram.add(int64_t{1} << 60);
  EXPECT_EQ(histogram.count(), 1002u);
}

TEST(the_cache_is_sized_by_what_requests_need_and_memory_allows) {
  ModelConfig config = model()->config();
  config.n_ctx = 1600;
  config.window = 0;
  const EngineOptions plain{.max_sequences = 4, .max_step_tokens = 64};
  const auto pages = [&](const EngineOptions& options, KvStorage::PageBytes page, uint64_t most) {
    return pages_for(options, config, page, 16, most);
  };
  EXPECT_EQ(pages(plain, {.global = 1000}, 1 << 30).global, 400);
  EXPECT_EQ(pages(plain, {.global = 1000}, 100'000).global, 100);
  const std::string too_little = EXPECT_ERROR(kOutOfMemory, { pages(plain, {.global = 1000}, 9); });
  EXPECT(test::contains(too_little, "may take 9 ") &&
         test::contains(too_little, "16 tokens takes 1000 "));
  EngineOptions given = plain;
  given.kv_bytes = 7'500;
  EXPECT_EQ(pages(given, {.global = 1000}, 1 << 30).global, 7);
  given.kv_bytes = 999;
  EXPECT_ERROR(kInvalidRequest, { pages(given, {.global = 1000}, 1 << 30); });
  // A window of 100 tokens and a chunk of 64 meet at most 12 pages.
  config.window = 100;
  const KvPages both = pages(plain, {.global = 1000, .window = 500}, 1 << 30);
  EXPECT_EQ(both.global, 400);
  EXPECT_EQ(both.window, 48);
  given.kv_bytes = 30'000;
  EXPECT_EQ(pages(given, {.global = 1000, .window = 500}, 1 << 30).window, 20);
  EXPECT_EQ(pages(given, {.global = 1000, .window = 500}, 1 << 30).global, 20);
  EXPECT_EQ(pages(given, {.global = 0, .window = 500}, 1 << 30).window, 60);
}
