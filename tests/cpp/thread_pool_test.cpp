#include "base/thread_pool.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <new>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cpp/harness.h"

using namespace realm;

namespace {

std::atomic<int64_t> allocations{0};

double cpu_ms() {
  timespec now;
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The exit status of `body` in a child process; -1 if it has not ended after ten seconds.
int status_in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  for (int i = 0; i < 1000; ++i) {
    if (::waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  return -1;
}

}  // namespace

void* operator new(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

TEST(a_part_begins_where_the_parts_before_it_end) {
  ThreadPool pool(4);
  const int64_t ten[] = {0, 3, 6, 8}, two[] = {0, 1, 2, 2};
  for (int thread = 0; thread < 4; ++thread) {
    EXPECT_EQ(pool.part_begin(10, thread), ten[thread]);
    EXPECT_EQ(pool.part_begin(2, thread), two[thread]);
    EXPECT_EQ(pool.part_begin(0, thread), 0);
  }
}

TEST(waiting_threads_may_expect_any_memory) {
  ThreadPool pool(3);
  static const char memory[1 << 20] = {};
  const void* nowhere = reinterpret_cast<const void*>(uintptr_t{64});
  for (const void* place :
       {static_cast<const void*>(memory), nowhere, static_cast<const void*>(nullptr)}) {
    for (int thread = 0; thread < 3; ++thread) pool.expect(thread, place);
    std::atomic<int> sum{0};
    pool.run(100, [&](int64_t i) { sum += static_cast<int>(i); });
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    EXPECT_EQ(sum.load(), 4950);
  }
}

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

TEST(ranges_cover_all_indices_and_respect_the_grain) {
  ThreadPool pool(3);
  for (const int64_t n : {1, 9, 10, 11, 1000, 100000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(n));
    std::atomic<int> n_ranges{0}, short_ranges{0};
    pool.run_ranges(n, 10, [&](int64_t begin, int64_t end) {
      ++n_ranges;
      if (end - begin < 10 && end != n) ++short_ranges;
      for (int64_t i = begin; i < end; ++i) runs[static_cast<size_t>(i)]++;
    });
    for (const auto& count : runs) EXPECT_EQ(count.load(), 1);
    EXPECT_EQ(short_ranges.load(), 0);
    EXPECT(n_ranges.load() <= 64);  // claims shrink: their number grows with the logarithm
  }
}

TEST(a_region_allocates_nothing) {
  ThreadPool pool(2);
  std::vector<int64_t> many(9);
  pool.run(4, [](int64_t) {});
  const int64_t before = allocations.load();
  for (int r = 0; r < 100; ++r) {  // captures more than a std::function holds in place
    pool.run(9, [&, a = r, b = 2 * r, c = int64_t{3}, d = int64_t{4}](int64_t i) {
      many[static_cast<size_t>(i)] += a + b + c + d;
    });
  }
  EXPECT_EQ(allocations.load(), before);
}

TEST(an_idle_pool_uses_no_cpu) {
  ThreadPool pool(3);
  pool.run(8, [](int64_t) {});
  bool is_idle = false;
  for (int window = 0; window < 5 && !is_idle; ++window) {  // a busy machine lets them sleep late
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const double before = cpu_ms();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    is_idle = cpu_ms() - before < 2;
  }
  EXPECT(is_idle);
}

TEST(a_pool_wakes_up_from_every_length_of_sleep) {
  ThreadPool pool(3);
  std::atomic<int> runs{0};
  for (int us = 0; us < 300; ++us) {
    std::this_thread::sleep_for(std::chrono::microseconds(us));
    pool.run(50, [&](int64_t) { ++runs; });
  }
  EXPECT_EQ(runs.load(), 300 * 50);
}

TEST(more_threads_than_processors_do_not_collapse) {
  constexpr int kRegions = 2000;
  ThreadPool pool(8 * usable_processors());
  std::atomic<int64_t> runs{0};
  const auto begin = Clock::now();
  for (int r = 0; r < kRegions; ++r) pool.run(64, [&](int64_t) { ++runs; });
  EXPECT_EQ(runs.load(), 64 * kRegions);
  EXPECT(seconds_since(begin) < 10);  // a region that waits for every thread takes milliseconds
}

TEST(a_forked_child_gets_an_error_and_exits) {
  auto pool = std::make_unique<ThreadPool>(3);
  pool->run(4, [](int64_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // its threads are asleep
  EXPECT_EQ(status_in_child([&] {
              try {
                pool->run(4, [](int64_t) {});
                return 1;
              } catch (const Error& error) {
                if (error.code() != ErrorCode::kForked) return 2;
              }
              pool.reset();
              return 0;
            }),
            0);
}

TEST(a_child_forked_at_any_moment_gets_a_pool_of_its_own) {
#if defined(__SANITIZE_THREAD__)
  constexpr int kThreads = 1;  // the thread sanitizer ends a forked child that starts a thread
#else
  constexpr int kThreads = 2;
#endif
  std::atomic<bool> stop{false};
  // Is in and out of the lock that guards the shared pools, and of no other: the address
  // sanitizer's allocator does not survive a fork in the middle of it.
  const auto kept = ThreadPool::shared(1);
  std::thread other([&] {
    while (!stop) ThreadPool::shared(1);
  });
  for (int i = 0; i < 20; ++i) {
    const auto of_parent = ThreadPool::shared(kThreads);
    EXPECT_EQ(status_in_child([&] {
                std::atomic<int> runs{0};
                const auto own = ThreadPool::shared(kThreads);
                own->run(100, [&](int64_t) { ++runs; });
                return own != of_parent && runs == 100 ? 0 : 1;
              }),
              0);
  }
  stop = true;
  other.join();
}

TEST(engines_of_one_process_share_a_pool) {
  const auto a = ThreadPool::shared(2), b = ThreadPool::shared(2);
  EXPECT_EQ(a.get(), b.get());
  EXPECT(usable_processors() >= 1);
}
