// A fork-join pool: run(n, body) calls body(0) .. body(n - 1), each once, on the caller and the
// pool's threads, and returns when all have ended. Which thread runs which index is open, so no
// result may depend on it. Each thread has an equal part of the region and takes ranges of it from
// front to back, each half of what is left: memory that bodies read in order is read in order.
// Whoever has finished goes on with what is left of another's part.
//
// The caller never waits for a thread that has not begun: where other programs hold the
// processors, it does the work itself. Threads spin briefly between regions, then sleep: an idle
// pool uses no CPU. Nothing is allocated by a region.
//
// One region runs at a time; concurrent callers queue. A body that throws ends the region early
// (what has not begun is dropped) and the first exception is rethrown to the caller. Calls from
// inside a body run inline. In a child process after fork the threads are gone: run() throws
// kForked, and shared() gives a fresh pool.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/process.h"

namespace realm {

class ThreadPool {
 public:
  // `n_threads` counts the caller: 1 starts no thread.
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const { return n_threads_; }

  template <class Body>
  void run(int64_t n, const Body& body) {
    run_ranges(n, 1, [&body](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body(i);
    });
  }

  // Calls body(begin, end) for ranges that together cover 0 .. n - 1, each of `grain` or more. One
  // range, on the caller, when n is no more than the grain.
  template <class Body>
  void run_ranges(int64_t n, int64_t grain, const Body& body) {
    const auto call = [](const void* context, int64_t begin, int64_t end) {
      (*static_cast<const Body*>(context))(begin, end);
    };
    run_region(n, grain, {call, &body});
  }

  // Where the part of thread `thread` begins in a region of n with a grain of 1; the caller is 0.
  int64_t part_begin(int64_t n, int thread) const;

  // Memory that a thread's part of a coming region begins with: the thread asks for it while it
  // waits, the caller too. A hint that lasts until the next; any address will do, and null for
  // none.
  void expect(int thread, const void* memory) {
    parts_[static_cast<size_t>(thread)].expected.store(static_cast<const char*>(memory),
                                                       std::memory_order_relaxed);
  }

  // A pool of `n_threads` that all engines of the process share while any of them lives.
  static std::shared_ptr<ThreadPool> shared(int n_threads);

 private:
  struct Work {
    void (*call)(const void* context, int64_t begin, int64_t end) = nullptr;
    const void* context = nullptr;
  };
  struct Range {
    int64_t begin = 0, end = 0;
  };

  void run_region(int64_t n, int64_t grain, Work work);
  void run_slice(int64_t first, int64_t n, int64_t grain, Work work);
  void work(size_t self);
  bool claim(size_t self, Range& range);
  bool claim_from(size_t part, Range& range);
  void drain(size_t self);
  void drop_rest();
  void complete(int64_t n);
  void await_end();
  bool await_news(size_t self, uint32_t seen);

  const int n_threads_;
  std::vector<std::thread> threads_;
  const OwnerProcess owner_;
  std::mutex one_region_;

  // The current region. `work_` and `first_` are read only by those who hold a claim: the region
  // cannot end under them. The others are hints that a claim made for an older region ignores.
  Work work_;
  int64_t first_ = 0;
  std::atomic<int64_t> n_{0}, grain_{1}, n_parts_{1};
  // What a thread begins with; the caller's is the first.
  struct alignas(64) Part {
    std::atomic<uint64_t> unclaimed{0};  // region number << 32 | indices not claimed yet
    std::atomic<const char*> expected{nullptr};

    // Of its thread alone: how much was asked for of what is expected from where.
    const char* fetched_from = nullptr;
    int64_t fetched = 0;
    void fetch_some();
  };
  std::unique_ptr<Part[]> parts_;
  uint32_t region_ = 0;  // its number, of the caller alone
  alignas(64) std::atomic<int64_t> unfinished_{0};
  std::atomic<uint32_t> ended_{0};  // number of the last region that ended
  std::exception_ptr error_;
  std::mutex error_mutex_;

  alignas(64) std::atomic<uint32_t> news_{0};  // counts regions; sleepers wait for it to change
  std::atomic<bool> stopping_{false};
};

// Threads worth using: the processors this process may run on, capped by a cgroup CPU quota; at
// least 1.
int usable_processors();

}  // namespace realm
