// A stream of requests that an engine serves as one party: it gets its share of the work by weight,
// counted in tokens computed, keeps within its limits, and has a namespace of its own in the prefix
// cache. Whom it stands for is the caller's affair; the engine knows no tenants. Requests that name
// no flow share one without limits.
//
// Made by Engine::open_flow(). Every function may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

#include "engine/flow_book.h"
#include "engine/flow_stats.h"
#include "engine/token_window.h"
#include "kv/prefix_index.h"

namespace realm {

// Named as in realm/quota.h, which says what each means.
struct FlowLimits {
  std::optional<int64_t> concurrent_requests{}, queued_requests{}, kv_blocks{};
  std::optional<int64_t> tokens_per_minute{}, max_tokens{};
};

struct FlowOptions {
  // Of the work that flows compete for, each gets a part in proportion to its weight.
  double weight = 1;
  FlowLimits limits{};
  Namespace space{};
};

// What a request could take at most.
struct FlowClaim {
  int64_t n_tokens = 0;  // prompt and answer
  int64_t max_tokens = 0;
  int64_t kv_blocks = 0;
};

class Flow {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // For Engine::open_flow(): how many requests the engine runs at once, and which engine it is.
  // Throws kInvalidRequest for a weight or a limit that makes no sense.
  Flow(const FlowOptions& options, int64_t max_sequences, const void* engine);

  const FlowOptions& options() const { return options_; }
  FlowStats stats() const;
  // No more requests; those that are there have been cancelled.
  bool is_closed() const { return closed_.load(std::memory_order_relaxed); }

  // ---- for the engine
  const void* engine() const { return engine_; }
  void close() { closed_.store(true, std::memory_order_relaxed); }
  // Counts a request; throws kQuotaExceeded if it is above a limit, and counts the refusal.
  void enter(const FlowClaim& claim, int64_t n_prompt, Time now);
  // It has ended, after n_used tokens of prompt and answer.
  void leave(const FlowClaim& claim, int64_t n_used, Time now);
  void note_refused();

  // ---- for work beside the engine, on any thread
  // Counts tokens that are computed at once. Throws kQuotaExceeded above tokens_per_minute, and
  // kInvalidRequest once the flow is closed.
  void charge(int64_t n_tokens, Time now);
  // Blocks of memory of its own that somebody holds for the flow, until give_back(). Throws
  // kQuotaExceeded if those together are above kv_blocks, which running requests fill by
  // themselves.
  void take_blocks(int64_t n);
  void give_back(int64_t n);

  // What happens to its requests: note([&](FlowStats& stats) { ... }).
  template <class Change>
  void note(Change change) {
    const std::lock_guard lock(mutex_);
    change(stats_);
  }
  // The engine's thread alone.
  FlowBook& book() { return book_; }

 private:
  void require_or_note(const char* quota, const std::optional<int64_t>& limit, int64_t value);

  const FlowOptions options_;
  const int64_t max_live_;
  const void* const engine_;
  std::atomic<bool> closed_{false};
  mutable std::mutex mutex_;
  FlowStats stats_;
  mutable TokenWindow tokens_;
  int64_t own_blocks_ = 0;
  FlowBook book_;
};

}  // namespace realm
