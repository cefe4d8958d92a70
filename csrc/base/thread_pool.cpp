#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/system.h"

namespace realm {

namespace {

using Clock = std::chrono::steady_clock;

// A sleeping thread takes 5 to 50 us to come back, the ops of a step follow each other within some
// 20 us: threads that find nothing to do spin for the first while, give way to others for the
// second, and sleep. The caller of a region waits in the same way for the last bodies.
constexpr std::chrono::microseconds kSpin{30}, kGiveWay{70};

thread_local bool inside_region = false;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True as soon as `ready()`, false if the time above passes without. Calls meanwhile() often.
template <class Ready, class Meanwhile>
bool spin_until(Ready ready, Meanwhile meanwhile) {
  if (ready()) return true;
  constexpr int kPausesPerLook = 32;  // at the clock
  const Clock::time_point begin = Clock::now();
  for (Clock::duration waited{}; waited < kSpin + kGiveWay; waited = Clock::now() - begin) {
    if (waited > kSpin) std::this_thread::yield();
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (ready()) return true;
      meanwhile();
      pause_briefly();
    }
  }
  return false;
}

// Where part i of a region of n ends.
int64_t part_end(int64_t n, int64_t n_parts, int64_t i) {
  const int64_t parts = std::min(i + 1, n_parts);
  return n / n_parts * parts + std::min(n % n_parts, parts);
}

}  // namespace

void ThreadPool::Part::fetch_some() {
  constexpr int64_t kLines = 4, kLineBytes = 64, kMost = 512 << 10;  // a part of an L2
  const char* const place = expected.load(std::memory_order_relaxed);
  if (place != fetched_from) {
    fetched_from = place;
    fetched = 0;
  }
  if (!place || fetched >= kMost) return;
  for (int64_t i = 0; i < kLines; ++i, fetched += kLineBytes) {
    __builtin_prefetch(place + fetched, 0, 2);
  }
}

ThreadPool::ThreadPool(int n_threads) : n_threads_(n_threads) {
  REALM_CHECK(n_threads >= 1 && n_threads <= 1024, "threads must be 1 to 1024, is ", n_threads);
  const auto n = static_cast<size_t>(n_threads);
  parts_ = std::make_unique<Part[]>(n);
  threads_.reserve(n - 1);
  for (size_t i = 1; i < n; ++i) threads_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  if (!owner_.is_current()) {
    // The threads exist only in the parent: there is nothing to join, and detaching would touch
    // what the child's own threads may use by now. So they are forgotten.
    for (std::thread& thread : threads_) std::construct_at(&thread);
    return;
  }
  stopping_.store(true);
  news_.fetch_add(1);
  news_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run_region(int64_t n, int64_t grain, Work work) {
  constexpr int64_t kMaxSlice = int64_t{1} << 31;  // what `unclaimed_` can count
  owner_.require();
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (inside_region || threads_.empty() || n <= grain) return work.call(work.context, 0, n);
  const std::lock_guard lock(one_region_);
  for (int64_t first = 0; first < n; first += kMaxSlice) {
    run_slice(first, std::min(kMaxSlice, n - first), grain, work);
  }
}

void ThreadPool::run_slice(int64_t first, int64_t n, int64_t grain, Work work) {
  work_ = work;
  first_ = first;
  error_ = nullptr;
  n_.store(n, std::memory_order_relaxed);
  grain_.store(grain, std::memory_order_relaxed);
  unfinished_.store(n, std::memory_order_relaxed);
  const int64_t n_parts = std::clamp<int64_t>(n / grain, 1, n_threads_);
  n_parts_.store(n_parts, std::memory_order_relaxed);
  region_ = ended_.load(std::memory_order_relaxed) + 1;
  for (int i = 0; i < n_threads_; ++i) {
    const auto size = static_cast<uint64_t>(part_end(n, n_parts, i) - part_end(n, n_parts, i - 1));
    parts_[static_cast<size_t>(i)].unclaimed.store(uint64_t{region_} << 32 | size,
                                                   std::memory_order_release);
  }
  news_.fetch_add(1);
  news_.notify_all();  // costs a look at a counter when nobody sleeps
  drain(0);
  await_end();
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

int64_t ThreadPool::part_begin(int64_t n, int thread) const {
  return part_end(n, std::clamp<int64_t>(n, 1, n_threads_), thread - 1);
}

bool ThreadPool::claim(size_t self, Range& range) {
  const auto n = static_cast<size_t>(n_threads_);
  for (size_t i = 0; i < n; ++i) {
    if (claim_from((self + i) % n, range)) return true;
  }
  return false;
}

// Takes half of what is left of a part, so that early claims are few and late ones small. A claim
// succeeds only while nothing has changed since `unclaimed` was read, thus only for the region that
// it was computed for.
bool ThreadPool::claim_from(size_t part, Range& range) {
  std::atomic<uint64_t>& unclaimed = parts_[part].unclaimed;
  uint64_t seen = unclaimed.load(std::memory_order_acquire);
  for (;;) {
    const auto left = static_cast<int64_t>(seen & 0xffffffff);
    if (left == 0) return false;
    const int64_t grain = grain_.load(std::memory_order_relaxed);
    const int64_t size = left < 2 * grain ? left : std::max(left / 2, grain);
    const int64_t n = n_.load(std::memory_order_relaxed);
    const int64_t n_parts = n_parts_.load(std::memory_order_relaxed);
    const int64_t begin = part_end(n, n_parts, static_cast<int64_t>(part)) - left;
    if (unclaimed.compare_exchange_weak(seen, seen - static_cast<uint64_t>(size),
                                        std::memory_order_acq_rel, std::memory_order_acquire)) {
      range = {begin, begin + size};
      return true;
    }
  }
}

void ThreadPool::drain(size_t self) {
  inside_region = true;
  for (Range range; claim(self, range);) {
    try {
      work_.call(work_.context, first_ + range.begin, first_ + range.end);
    } catch (...) {
      {
        const std::lock_guard lock(error_mutex_);
        if (!error_) error_ = std::current_exception();
      }
      drop_rest();
    }
    complete(range.end - range.begin);
  }
  inside_region = false;
}

// Called with a claim in hand, so that the region is still the same.
void ThreadPool::drop_rest() {
  int64_t dropped = 0;
  for (int i = 0; i < n_threads_; ++i) {
    const uint64_t before =
        parts_[static_cast<size_t>(i)].unclaimed.fetch_and(~uint64_t{0xffffffff});
    dropped += static_cast<int64_t>(before & 0xffffffff);
  }
  complete(dropped);
}

void ThreadPool::complete(int64_t n) {
  if (n == 0 || unfinished_.fetch_sub(n, std::memory_order_acq_rel) != n) return;
  ended_.fetch_add(1, std::memory_order_release);
  ended_.notify_one();
}

void ThreadPool::await_end() {
  const auto has_ended = [&] { return ended_.load(std::memory_order_acquire) == region_; };
  if (spin_until(has_ended, [&] { parts_[0].fetch_some(); })) return;
  while (!has_ended()) ended_.wait(region_ - 1, std::memory_order_acquire);
}

// False when the pool is stopping.
bool ThreadPool::await_news(size_t self, uint32_t seen) {
  const auto is_news = [&] { return news_.load(std::memory_order_acquire) != seen; };
  if (!spin_until(is_news, [&] { parts_[self].fetch_some(); })) {
    while (!is_news()) news_.wait(seen);
  }
  return !stopping_.load();
}

void ThreadPool::work(size_t self) {
  uint32_t seen = 0;
  while (await_news(self, seen)) {
    seen = news_.load(std::memory_order_acquire);  // before the claims: later news is not missed
    drain(self);
  }
}

namespace {

// The pools of one process. A child after fork leaves its parent's alone, whose mutex another
// thread may have held, and begins its own.
struct SharedPools {
  const int64_t process = process_id();
  const SharedPools* const of_parent;
  std::mutex mutex;
  std::map<int, std::weak_ptr<ThreadPool>> by_threads;

  explicit SharedPools(const SharedPools* parent) : of_parent(parent) {}
};

SharedPools& shared_pools() {
  static constinit std::atomic<SharedPools*> current{nullptr};
  SharedPools* known = current.load(std::memory_order_acquire);
  while (!known || known->process != process_id()) {
    auto fresh = std::make_unique<SharedPools>(known);
    if (current.compare_exchange_strong(known, fresh.get(), std::memory_order_acq_rel)) {
      return *fresh.release();
    }
  }
  return *known;
}

}  // namespace

std::shared_ptr<ThreadPool> ThreadPool::shared(int n_threads) {
  SharedPools& pools = shared_pools();
  const std::lock_guard lock(pools.mutex);
  std::weak_ptr<ThreadPool>& known = pools.by_threads[n_threads];
  std::shared_ptr<ThreadPool> pool = known.lock();
  if (!pool) known = pool = std::make_shared<ThreadPool>(n_threads);
  return pool;
}

int usable_processors() {
  return std::max(1, permitted_processors());
}

}  // namespace realm
