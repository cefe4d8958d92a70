// The limits of flows against a naive twin: an engine that stands still between steps, so that what
// it must accept and what it must refuse is known beforehand.
#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>

#include "cpp/engine_world.h"
#include "engine/token_window.h"

using namespace realm;
using namespace realm::test;

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Lets an engine do so many steps, and no more.
class Gate {
 public:
  // On the engine's thread.
  void pass() {
    std::unique_lock lock(mutex_);
    is_waiting_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return n_left_ > 0; });
    --n_left_;
    is_waiting_ = false;
  }
  // Until the engine stands at the gate again, or has nothing to do.
  void let(int64_t n, const Engine& engine) {
    std::unique_lock lock(mutex_);
    n_left_ += n;
    changed_.notify_all();
    while (!changed_.wait_for(lock, milliseconds(5), [this] { return is_waiting_ && !n_left_; })) {
      lock.unlock();
      const bool is_idle = engine.stats().active_requests == 0;
      lock.lock();
      if (!is_idle) continue;
      n_left_ = 0;
      return;
    }
  }
  void open() {
    const std::lock_guard lock(mutex_);
    n_left_ = int64_t{1} << 40;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t n_left_ = 0;
  bool is_waiting_ = false;
};

// A flow, and what its requests add up to by counting each.
struct Twin {
  FlowLimits limits;
  std::shared_ptr<Flow> flow;
  std::vector<std::shared_ptr<Request>> requests;

  static bool has_ended(const Request& request) {
    return request.state() == RequestState::kFinished;
  }
  int64_t n_live() const {
    return std::ranges::count_if(requests, [](const auto& one) { return !has_ended(*one); });
  }
  void wait() const {
    for (const auto& one : requests) one->wait_end(seconds(60));
  }
  // All within the last minute: the test is shorter.
  int64_t n_tokens() const {
    int64_t sum = 0;
    for (const auto& one : requests) {
      const RequestReport report = one->report();
      sum += !has_ended(*one)         ? one->claim().n_tokens
             : report.started_ns == 0 ? 0
                                      : report.n_prompt + report.n_generated;
    }
    return sum;
  }
  // The limit that the next request is above; empty for none.
  std::string refusal(int64_t n_prompt, int64_t max_tokens, int64_t max_sequences) const {
    if (limits.max_tokens && max_tokens > *limits.max_tokens) return "max_tokens";
    const int64_t n_blocks = (n_prompt + max_tokens + 15) / 16;
    if (limits.kv_blocks && n_blocks > *limits.kv_blocks) return "kv_blocks";
    const int64_t runnable = limits.concurrent_requests.value_or(max_sequences);
    if (limits.queued_requests && n_live() >= runnable + *limits.queued_requests) {
      return "queued_requests";
    }
    const int64_t sum = n_tokens() + n_prompt + max_tokens;
    if (limits.tokens_per_minute && sum > *limits.tokens_per_minute) return "tokens_per_minute";
    return "";
  }
};

template <class Draw>
std::optional<int64_t> perhaps(Random& random, Draw draw) {
  return between(random, 0, 2) > 0 ? std::optional<int64_t>(draw()) : std::nullopt;
}

FlowLimits random_limits(Random& random) {
  FlowLimits limits;
  limits.concurrent_requests = perhaps(random, [&] { return between(random, 1, 3); });
  limits.queued_requests = perhaps(random, [&] { return between(random, 0, 4); });
  limits.kv_blocks = perhaps(random, [&] { return between(random, 2, 4); });
  limits.tokens_per_minute = perhaps(random, [&] { return between(random, 60, 600); });
  limits.max_tokens = perhaps(random, [&] { return between(random, 8, 24); });
  return limits;
}

// What the limits of running requests must hold in every step.
bool keeps_running_limits(Flow& flow) {
  const FlowLimits& limits = flow.options().limits;
  const FlowBook& book = flow.book();
  return book.n_running() <= limits.concurrent_requests.value_or(FlowBook::kNoLimit) &&
         book.n_blocks <= limits.kv_blocks.value_or(FlowBook::kNoLimit);
}

}  // namespace

TEST(no_limit_is_ever_exceeded_and_nothing_within_the_limits_is_refused) {
  const auto model = golden("arch/llama/model-f32", 1);
  std::map<std::string, int64_t> refused;
  int64_t n_accepted = 0, n_wrong = 0;
  for (unsigned seed = 0; seed < 12; ++seed) {
    Random random(seed);
    Gate gate;
    std::vector<Twin> twins(4);
    std::atomic<bool> is_kept{true};
    Engine engine(model, {.max_sequences = 4, .max_step_tokens = 32},
                  [&](const StepBatch&, std::span<float>) {
                    for (Twin& twin : twins) is_kept = is_kept && keeps_running_limits(*twin.flow);
                    gate.pass();
                  });
    for (Twin& twin : twins) {
      twin.limits = random_limits(random);
      twin.flow = engine.open_flow({.limits = twin.limits});
    }
    for (int i = 0; i < 150; ++i) {
      Twin& twin = twins[static_cast<size_t>(between(random, 0, 3))];
      RequestOptions options;
      options.flow = twin.flow;
      options.prompt = random_tokens(random, between(random, 1, 40), model->config().n_vocab);
      options.params.max_tokens = between(random, 1, 30);
      options.params.ignore_eos = true;
      const std::string expected =
          twin.refusal(std::ssize(options.prompt), options.params.max_tokens, 4);
      std::string got;
      try {
        twin.requests.push_back(engine.submit(options));
        ++n_accepted;
      } catch (const Error& error) {
        got = error.breach().quota;
        n_wrong += error.code() != ErrorCode::kQuotaExceeded;
        n_wrong += error.breach().value <= error.breach().limit;
      }
      n_wrong += got != expected;
      n_wrong += twin.flow->stats().active_requests != twin.n_live();
      n_wrong += twin.flow->stats().tokens_last_minute != twin.n_tokens();
      ++refused[expected];
      const bool cancels = between(random, 0, 9) == 0 && !twin.requests.empty();
      if (cancels) twin.requests.back()->cancel();
      if (between(random, 0, 1)) gate.let(between(random, 1, 6), engine);
      while (cancels && !Twin::has_ended(*twin.requests.back())) gate.let(1, engine);
      if (engine.stats().active_requests > 0) continue;
      for (const Twin& one : twins) one.wait();  // until the last have heard of their end
    }
    gate.open();
    for (Twin& twin : twins) {
      for (const auto& request : twin.requests) {
        n_wrong += !request->wait_end(seconds(60));
      }
      const FlowStats stats = twin.flow->stats();
      n_wrong += stats.active_requests != 0 || stats.total_requests != twin.requests.size();
      n_wrong += stats.kv_blocks_used != 0 || stats.running != 0;
    }
    EXPECT(is_kept);
    engine.close();
  }
  EXPECT_EQ(n_wrong, 0);
  EXPECT(n_accepted > 300);
  for (const char* name : {"max_tokens", "kv_blocks", "queued_requests", "tokens_per_minute"}) {
    EXPECT(refused[name] > 20);
  }
}

TEST(a_window_of_tokens_forgets_nothing_within_a_minute) {
  Random random(3);
  TokenWindow window;
  std::deque<std::pair<int64_t, int64_t>> ended;  // when, in ms, and tokens
  std::vector<int64_t> live;
  int64_t now = 1'000'000;
  for (int i = 0; i < 20'000; ++i) {
    now += between(random, 0, between(random, 0, 50) == 0 ? 90'000 : 700);
    const TokenWindow::Time time{milliseconds(now)};
    if (live.empty() || between(random, 0, 1)) {
      live.push_back(between(random, 1, 100));
      window.begin(live.back());
    } else {
      const int64_t used = between(random, 0, live.back());
      window.end(live.back(), used, time);
      live.pop_back();
      ended.emplace_back(now, used);
    }
    int64_t least = 0, most = 0;  // of a minute, and of one rounded up
    for (const int64_t n : live) least += n, most += n;
    for (const auto& [when, used] : ended) {
      if (now - when < 60'000) least += used;
      if (now - when < 61'000) most += used;
    }
    const int64_t count = window.count(time);
    EXPECT(count >= least && count <= most);
    while (!ended.empty() && now - ended.front().first > 100'000) ended.pop_front();
  }
}

TEST(a_closed_flow_ends_its_own_requests_alone) {
  const auto model = golden("arch/llama/model-f32", 1);
  Engine engine(model, {.max_sequences = 2});
  const auto doomed = engine.open_flow({}), spared = engine.open_flow({});
  RequestOptions options;
  options.prompt = {1, 2, 3};
  options.params.max_tokens = 60;
  options.params.ignore_eos = true;
  std::vector<std::shared_ptr<Request>> requests;
  for (int i = 0; i < 10; ++i) {
    options.flow = i % 2 ? doomed : spared;
    requests.push_back(engine.submit(options));
  }
  engine.close_flow(*doomed);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT(requests[i]->wait_end(seconds(60)));
    const FinishReason reason = requests[i]->report().finish->reason;
    EXPECT(reason == FinishReason::kLength || (i % 2 && reason == FinishReason::kCancelled));
  }
  EXPECT(doomed->stats().cancelled >= 4 && spared->stats().cancelled == 0);
  options.flow = doomed;
  EXPECT_ERROR(kInvalidRequest, { engine.submit(options); });
}

TEST(a_flow_belongs_to_its_engine) {
  const auto model = golden("arch/llama/model-f32", 1);
  Engine engine(model, {}), other(model, {});
  RequestOptions options;
  options.prompt = {1};
  options.flow = other.open_flow({});
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { engine.submit(options); }), "another engine"));
}

TEST(options_of_flows_that_make_no_sense_are_refused_by_name) {
  const auto model = golden("arch/llama/model-f32", 1);
  Engine engine(model, {});
  const auto refusal = [&](const FlowOptions& options) {
    return EXPECT_ERROR(kInvalidRequest, { engine.open_flow(options); });
  };
  EXPECT(contains(refusal({.weight = 0}), "weight"));
  EXPECT(contains(refusal({.weight = std::nan("")}), "weight"));
  EXPECT(contains(refusal({.weight = 1e300}), "weight"));
  EXPECT(contains(refusal({.limits = {.concurrent_requests = 0}}), "concurrent_requests"));
  EXPECT(contains(refusal({.limits = {.queued_requests = -1}}), "queued_requests"));
  EXPECT(contains(refusal({.limits = {.kv_blocks = 0}}), "kv_blocks"));
  EXPECT(contains(refusal({.limits = {.tokens_per_minute = -5}}), "tokens_per_minute"));
  EXPECT(contains(refusal({.limits = {.max_tokens = 0}}), "max_tokens"));
}
