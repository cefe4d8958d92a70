#include "base/thread_pool.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sched.h>
#include <string>
#include <unistd.h>

#include "base/error.h"

namespace realm {

namespace {

// Long enough to bridge the gap between two ops of a step, short enough to cost nothing when idle.
constexpr int kSpins = 4000;

thread_local bool inside_region = false;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// CPUs granted by cgroup v2, rounded up; a large number if there is no quota.
int cgroup_processors() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 1 << 20;
  try {
    return std::max(1, static_cast<int>(std::ceil(std::stod(quota) / period)));
  } catch (const std::exception&) {
    return 1 << 20;
  }
}

}  // namespace

ThreadPool::ThreadPool(int n_threads) {
  REALM_CHECK(n_threads >= 1 && n_threads <= 1024, "threads must be 1 to 1024, is ", n_threads);
  threads_.reserve(static_cast<size_t>(n_threads) - 1);
  for (int i = 1; i < n_threads; ++i) threads_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  if (!owner_.is_current()) {  // after fork the threads exist only in the parent: nothing to join
    for (std::thread& thread : threads_) thread.detach();
    return;
  }
  stopping_.store(true);
  region_.fetch_add(1);
  {
    const std::lock_guard lock(sleep_mutex_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(int64_t n_chunks, const std::function<void(int64_t)>& body) {
  owner_.require();
  if (n_chunks <= 0) return;
  if (inside_region || threads_.empty() || n_chunks == 1) {
    for (int64_t i = 0; i < n_chunks; ++i) body(i);
    return;
  }
  const std::lock_guard lock(one_region_);
  body_ = &body;
  n_chunks_ = n_chunks;
  error_ = nullptr;
  next_chunk_.store(0, std::memory_order_relaxed);
  workers_left_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
  region_.fetch_add(1);  // publishes the region; sequentially consistent against sleepers_
  if (sleepers_.load() != 0) {
    {
      const std::lock_guard sleep_lock(sleep_mutex_);
    }
    wake_.notify_all();
  }
  drain();
  for (int spins = 0; workers_left_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) {
      pause_briefly();
    } else {
      std::this_thread::yield();
    }
  }
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::drain() {
  inside_region = true;
  try {
    for (int64_t i; (i = next_chunk_.fetch_add(1, std::memory_order_relaxed)) < n_chunks_;)
      (*body_)(i);
  } catch (...) {
    next_chunk_.store(n_chunks_, std::memory_order_relaxed);
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::current_exception();
  }
  inside_region = false;
}

bool ThreadPool::await_region(uint64_t seen) {
  for (int spins = 0; spins < kSpins; ++spins) {
    if (region_.load(std::memory_order_acquire) != seen) return !stopping_.load();
    pause_briefly();
  }
  std::unique_lock lock(sleep_mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, [&] { return region_.load() != seen; });
  sleepers_.fetch_sub(1);
  return !stopping_.load();
}

void ThreadPool::work() {
  for (uint64_t seen = 0; await_region(seen);) {
    ++seen;  // regions come one at a time: the caller waits for every worker before the next
    drain();
    workers_left_.fetch_sub(1, std::memory_order_release);
  }
}

std::shared_ptr<ThreadPool> ThreadPool::shared(int n_threads) {
  static std::mutex mutex;
  static std::map<std::pair<int64_t, int>, std::weak_ptr<ThreadPool>> pools;
  const std::lock_guard lock(mutex);
  std::weak_ptr<ThreadPool>& known = pools[{::getpid(), n_threads}];
  std::shared_ptr<ThreadPool> pool = known.lock();
  if (!pool) known = pool = std::make_shared<ThreadPool>(n_threads);
  return pool;
}

int usable_processors() {
  int processors = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) processors = CPU_COUNT(&set);
#endif
  return std::max(1, std::min(processors, cgroup_processors()));
}

}  // namespace realm
