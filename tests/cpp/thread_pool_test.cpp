#include "base/thread_pool.h"

#include <chrono>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cpp/harness.h"

using namespace realm;

TEST(every_chunk_runs_exactly_once) {
  ThreadPool pool(3);
  for (int64_t n : {1, 2, 3, 7, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(n));
    pool.run(n, [&](int64_t i) { runs[static_cast<size_t>(i)]++; });
    for (const auto& count : runs) EXPECT_EQ(count.load(), 1);
  }
}

TEST(an_exception_reaches_the_caller_and_the_pool_lives_on) {
  ThreadPool pool(2);
  EXPECT_ERROR(kInvalidRequest,
               { pool.run(100, [](int64_t i) { REALM_CHECK(i != 42, "chunk 42"); }); });
  std::atomic<int> runs{0};
  pool.run(50, [&](int64_t) { ++runs; });
  EXPECT_EQ(runs.load(), 50);
}

TEST(a_region_inside_a_region_runs_inline) {
  ThreadPool pool(2);
  std::atomic<int> runs{0};
  pool.run(4, [&](int64_t) { pool.run(5, [&](int64_t) { ++runs; }); });
  EXPECT_EQ(runs.load(), 20);
}

TEST(callers_from_many_threads_take_turns) {
  ThreadPool pool(2);
  std::atomic<int> runs{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int r = 0; r < 200; ++r) pool.run(3, [&](int64_t) { ++runs; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(runs.load(), 4 * 200 * 3);
}

TEST(an_idle_pool_uses_no_cpu) {
  ThreadPool pool(3);
  pool.run(8, [](int64_t) {});
  const auto cpu_ms = [] {
    timespec now;
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double before = cpu_ms();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT(cpu_ms() - before < 20);
}

TEST(a_forked_child_gets_an_error_and_exits) {
  ThreadPool pool(2);
  pool.run(4, [](int64_t) {});
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 1;
    try {
      pool.run(4, [](int64_t) {});
    } catch (const Error& error) {
      status = error.code() == ErrorCode::kForked ? 0 : 2;
    }
    ::_exit(status);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(engines_of_one_process_share_a_pool) {
  const auto a = ThreadPool::shared(2), b = ThreadPool::shared(2);
  EXPECT_EQ(a.get(), b.get());
  EXPECT(usable_processors() >= 1);
}
