// How requests and engines end: cancelled, late, refused, closed, forked, and again and again.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "cpp/engine_world.h"
#include "cpp/harness.h"

using namespace realm;
using namespace realm::test;
using std::chrono::milliseconds;

namespace {

const auto& model() {
  static const auto loaded = golden("forward/llama-ragged");
  return loaded;
}

RequestOptions request(int64_t n_prompt = 10, int64_t max_tokens = 20, uint64_t seed = 1) {
  Random random(static_cast<unsigned>(seed));
  RequestOptions options;
  options.prompt = random_tokens(random, n_prompt, 96);
  options.params.max_tokens = max_tokens;
  options.params.seed = seed;
  options.params.ignore_eos = true;
  return options;
}

// Holds the engine inside a step until it is opened.
class Gate {
 public:
  StepHook hook() {
    return [this](const StepBatch&, std::span<float>) {
      ++n_steps_;
      while (is_closed_) std::this_thread::sleep_for(milliseconds(1));
    };
  }
  void open() { is_closed_ = false; }
  void await_step(int64_t n) const {
    while (n_steps_ < n) std::this_thread::sleep_for(milliseconds(1));
  }

 private:
  std::atomic<bool> is_closed_{true};
  std::atomic<int64_t> n_steps_{0};
};

// What /proc/self/<folder> lists: threads in task, descriptors in fd.
int64_t count_in(const char* folder) {
  int64_t n = 0;
  DIR* listing = ::opendir(concat("/proc/self/", folder).c_str());
  if (!listing) return -1;
  while (::readdir(listing)) ++n;
  ::closedir(listing);
  return n;
}

int64_t resident_pages() {
  FILE* file = std::fopen("/proc/self/statm", "r");
  long total = 0, resident = 0;
  const bool is_read = file && std::fscanf(file, "%ld %ld", &total, &resident) == 2;
  if (file) std::fclose(file);
  return is_read ? resident : -1;
}

// Runs `body` in a forked child; its exit status, or -1 if it did not end within a few seconds.
int in_child(const std::function<int()>& body) {
  std::fflush(nullptr);  // or the child prints it once more
  const pid_t child = ::fork();
  if (child == 0) {
    const int status = body();
#if defined(__SANITIZE_ADDRESS__)
    ::_exit(status);  // what belongs to the parent's threads is no leak of the child's
#else
    std::exit(status);
#endif
  }
  for (int i = 0; i < 500; ++i) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return -1;
}

bool is_forked(const std::function<void()>& use) {
  try {
    use();
  } catch (const Error& error) {
    return error.code() == ErrorCode::kForked;
  }
  return false;
}

}  // namespace

TEST(a_cancelled_request_keeps_what_it_has) {
  Gate gate;
  Engine engine(model(), {}, gate.hook());
  const auto options = request(10, 100);
  const auto submitted = engine.submit(options);
  gate.await_step(1);
  submitted->cancel();
  submitted->cancel();
  gate.open();
  const Answer answer = answer_of(*submitted);
  EXPECT(answer.reason == FinishReason::kCancelled);
  EXPECT(answer.tokens.size() <= 2);
  submitted->cancel();
  EXPECT(submitted->report().finish->reason == FinishReason::kCancelled);
  EXPECT_EQ(engine.stats().kv_blocks_used, 0);
}

TEST(a_waiting_request_can_be_cancelled) {
  Gate gate;
  Engine engine(model(), {.max_sequences = 1}, gate.hook());
  const auto running = engine.submit(request()), waiting = engine.submit(request(10, 20, 2));
  gate.await_step(1);
  EXPECT(waiting->state() == RequestState::kWaiting);
  waiting->cancel();
  gate.open();
  EXPECT(answer_of(*waiting).reason == FinishReason::kCancelled);
  EXPECT_EQ(waiting->report().started_ns, 0);
  EXPECT(answer_of(*running).reason == FinishReason::kLength);
}

TEST(a_prompt_can_be_cancelled_half_way) {
  Gate gate;
  Engine engine(model(), {.max_step_tokens = 16}, gate.hook());
  const auto submitted = engine.submit(request(100, 5));
  gate.await_step(1);
  submitted->cancel();
  gate.open();
  const Answer answer = answer_of(*submitted);
  EXPECT(answer.reason == FinishReason::kCancelled && answer.tokens.empty());
  EXPECT_EQ(engine.stats().kv_blocks_used, 0);
  EXPECT(submitted->report().finished_step <= 2);
}

TEST(a_step_that_nobody_wants_is_abandoned) {
  // A long prompt in one step: it is cancelled some way into it.
  Engine engine(demo(), {});
  const auto options = request(engine.model()->config().n_ctx / 2, 20);
  for (int i = 0; i < 50 && engine.stats().abandoned_steps == 0; ++i) {
    const auto submitted = engine.submit(options);
    while (submitted->state() == RequestState::kWaiting) std::this_thread::yield();
    submitted->cancel();
    EXPECT(answer_of(*submitted).reason == FinishReason::kCancelled);
  }
  EXPECT(engine.stats().abandoned_steps > 0);
  EXPECT_EQ(engine.stats().kv_blocks_used, 0);
}

TEST(a_request_that_is_cancelled_at_once_leaves_nothing_behind) {
  Engine engine(model(), {});
  for (int i = 0; i < 50; ++i) {
    const auto brief = engine.submit(request(100, 20));
    brief->cancel();
    EXPECT(answer_of(*brief).reason == FinishReason::kCancelled);
  }
  EXPECT_EQ(engine.stats().kv_blocks_used, 0);
}

TEST(a_deadline_ends_an_answer_as_it_stands) {
  Engine engine(model(), {}, [](const StepBatch&, std::span<float>) {
    std::this_thread::sleep_for(milliseconds(5));
  });
  RequestOptions options = request(10, 100);
  options.deadline_ms = 60;
  const auto submitted = engine.submit(options);
  const Answer answer = answer_of(*submitted),
               whole = alone(model(), request(10, 100), KvType::kF16);
  EXPECT(answer.reason == FinishReason::kDeadline);
  EXPECT(!answer.tokens.empty() && answer.tokens.size() < 40);
  EXPECT(std::ranges::equal(answer.tokens, std::span(whole.tokens).first(answer.tokens.size())));
}

TEST(a_deadline_also_ends_what_waits) {
  Engine engine(model(), {.max_wait_ms = 60'000});
  RequestOptions options = request();
  options.deadline_ms = 30;
  const auto waiting = engine.submit(options);
  EXPECT(answer_of(*waiting).reason == FinishReason::kDeadline);
  EXPECT_EQ(waiting->report().started_ns, 0);
}

TEST(closing_ends_every_request) {
  Gate gate;
  auto engine = std::make_unique<Engine>(model(), EngineOptions{.max_sequences = 2}, gate.hook());
  std::vector<std::shared_ptr<Request>> requests;
  for (uint64_t i = 0; i < 5; ++i) requests.push_back(engine->submit(request(10, 100, i)));
  gate.await_step(1);
  gate.open();
  engine->close();
  engine->close();
  for (const auto& one : requests) EXPECT(answer_of(*one).reason == FinishReason::kCancelled);
  const std::string told = EXPECT_ERROR(kInvalidRequest, { engine->submit(request()); });
  EXPECT(contains(told, "closed"));
  engine.reset();
  requests[0]->cancel();
  EXPECT(requests[0]->state() == RequestState::kFinished);
}

TEST(a_full_queue_refuses_by_name) {
  Gate gate;
  Engine engine(model(), {.max_sequences = 2, .max_queue = 1}, gate.hook());
  std::vector<std::shared_ptr<Request>> requests;
  for (uint64_t i = 0; i < 3; ++i) requests.push_back(engine.submit(request(10, 5, i)));
  const std::string told = EXPECT_ERROR(kQuotaExceeded, { engine.submit(request()); });
  EXPECT(contains(told, "max_queue") && contains(told, "3"));
  gate.open();
  for (const auto& one : requests) EXPECT(answer_of(*one).reason == FinishReason::kLength);
  EXPECT(answer_of(*engine.submit(request())).reason == FinishReason::kLength);
}

TEST(what_can_never_fit_is_refused_at_once) {
  const auto page = KvStorage::page_bytes(model()->backend(), model()->config(), KvType::kF16);
  Engine engine(model(), {.kv_bytes = 4 * page.global});
  EXPECT_EQ(engine.stats().kv_blocks_total, 4);
  EXPECT_ERROR(kInvalidRequest, { engine.submit(request(50, 15)); });
  EXPECT(answer_of(*engine.submit(request(50, 14))).reason == FinishReason::kLength);
  EXPECT_ERROR(kInvalidRequest, { engine.submit(request(model()->config().n_ctx + 1, 1)); });
  EXPECT_ERROR(kInvalidRequest, { engine.submit(request(0, 1)); });
  RequestOptions outside = request();
  outside.prompt[3] = static_cast<int32_t>(model()->config().n_vocab);
  EXPECT_ERROR(kInvalidRequest, { engine.submit(outside); });
  RequestOptions late = request();
  late.deadline_ms = -1;
  EXPECT_ERROR(kInvalidRequest, { engine.submit(late); });
  late.deadline_ms = std::numeric_limits<int64_t>::max();
  EXPECT_ERROR(kInvalidRequest, { engine.submit(late); });
  EXPECT_ERROR(kInvalidRequest, { Engine(model(), {.kv_bytes = 100}); });
  EXPECT_ERROR(kInvalidRequest, { Engine(model(), {.max_sequences = 0}); });
  EXPECT_ERROR(kInvalidRequest, { Engine(model(), {.max_step_tokens = 0}); });
  EXPECT_ERROR(kInvalidRequest, { Engine(model(), {.max_queue = -1}); });
  EXPECT_EQ(engine.stats().total_requests, 1u);
}

TEST(a_prompt_that_fills_the_context_ends_by_length) {
  Engine engine(model(), {.record_logits_hash = true});
  const auto options = request(model()->config().n_ctx, 100);
  const Answer answer = answer_of(*engine.submit(options));
  EXPECT(answer.reason == FinishReason::kLength);
  EXPECT_EQ(answer.tokens.size(), 1u);
  EXPECT(answer == alone(model(), options, KvType::kF16));
}

TEST(an_idle_engine_uses_no_processor) {
  Engine engine(model(), {});
  answer_of(*engine.submit(request()));
  std::this_thread::sleep_for(milliseconds(50));  // workers of the pool go to sleep
  timespec before{}, after{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(milliseconds(300));
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const int64_t ns =
      (after.tv_sec - before.tv_sec) * 1'000'000'000 + after.tv_nsec - before.tv_nsec;
  EXPECT(ns < 20'000'000);
}

TEST(a_child_process_is_told_and_ends) {
  Gate gate;
  gate.open();
  const auto engine = std::make_shared<Engine>(model(), EngineOptions{}, gate.hook());
  const auto mailbox = std::make_shared<Mailbox>();
  const auto running = engine->submit(request(10, 100), mailbox);
  std::thread waiter([&] { running->wait_end(std::chrono::seconds(10)); });
  gate.await_step(1);
  const int status = in_child([&] {
    const bool is_told =
        is_forked([&] { engine->submit(request()); }) && is_forked([&] { engine->stats(); }) &&
        is_forked([&] { running->wait(milliseconds(1)); }) &&
        is_forked([&] { running->cancel(); }) && is_forked([&] { mailbox->take(); });
    engine->close();
    // The child drops everything, while the parent's threads hold locks and wait.
    const_cast<std::shared_ptr<Engine>&>(engine).reset();
    const_cast<std::shared_ptr<Request>&>(running).reset();
    const_cast<std::shared_ptr<Mailbox>&>(mailbox).reset();
    return is_told ? 7 : 8;
  });
  EXPECT_EQ(status, 7);
  EXPECT(answer_of(*running).reason == FinishReason::kLength);
  waiter.join();
}

#if !defined(__SANITIZE_THREAD__)  // which knows no threads after a fork
TEST(a_child_process_can_have_an_engine_of_its_own) {
  Engine engine(model(), {});
  answer_of(*engine.submit(request()));
  const int status = in_child([] {
    Engine own(golden("forward/llama-ragged", 1), {});
    return answer_of(*own.submit(request())).tokens.size() == 20 ? 7 : 8;
  });
  EXPECT_EQ(status, 7);
}
#endif

// One that was joined is still listed for a moment.
int64_t count_threads() {
  int64_t least = count_in("task");
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(milliseconds(5));
    least = std::min(least, count_in("task"));
  }
  return least;
}

TEST(a_hundred_engines_leave_nothing_behind) {
  const auto cycle = [] {
    Engine engine(model(), {.max_sequences = 4});
    const auto mailbox = std::make_shared<Mailbox>();
    const auto first = engine.submit(request(10, 5), mailbox);
    const auto unfinished = engine.submit(request(10, 100), mailbox);
    answer_of(*first);
  };
  for (int i = 0; i < 10; ++i) cycle();
  const int64_t threads = count_threads(), descriptors = count_in("fd"), pages = resident_pages();
  for (int i = 0; i < 100; ++i) cycle();
  EXPECT_EQ(count_threads(), threads);
  EXPECT_EQ(count_in("fd"), descriptors);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT(resident_pages() - pages < 512);  // 2 MiB
#else
  EXPECT(pages > 0);
#endif
}
