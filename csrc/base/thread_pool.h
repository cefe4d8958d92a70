// A fork-join pool: run(n, body) calls body(0) .. body(n - 1), each once, on the caller and the
// pool's threads, and returns when all have ended. Chunks come from one counter, so which thread
// runs which chunk is open and no result may depend on it. Threads spin briefly between regions,
// then sleep: an idle pool uses no CPU.
//
// One region runs at a time; concurrent callers queue. A body that throws ends the region early
// (chunks not yet begun are dropped) and the first exception is rethrown to the caller. Calls from
// inside a body run inline. In a child process after fork the threads are gone: run() throws
// kForked.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
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

  int n_threads() const { return static_cast<int>(threads_.size()) + 1; }
  void run(int64_t n_chunks, const std::function<void(int64_t)>& body);

  // A pool of `n_threads` that all engines of the process share while any of them lives.
  static std::shared_ptr<ThreadPool> shared(int n_threads);

 private:
  void work();
  void drain();
  bool await_region(uint64_t seen);

  std::vector<std::thread> threads_;
  const OwnerProcess owner_;
  std::mutex one_region_;

  // The current region. Workers read these after they see `region_` change.
  const std::function<void(int64_t)>* body_ = nullptr;
  int64_t n_chunks_ = 0;
  std::atomic<int64_t> next_chunk_{0};
  std::atomic<int> workers_left_{0};
  std::exception_ptr error_;
  std::mutex error_mutex_;

  std::atomic<uint64_t> region_{0};
  std::atomic<bool> stopping_{false};
  std::mutex sleep_mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
};

// Threads worth using: the processors this process may run on, capped by a cgroup CPU quota; at
// least 1.
int usable_processors();

}  // namespace realm
