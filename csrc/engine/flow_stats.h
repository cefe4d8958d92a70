// What one flow of an engine has had so far. A snapshot; plain data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "engine/latency_histogram.h"

namespace realm {

// How often requests failed, by why: see count_of().
using ErrorCounts = std::array<uint64_t, 10>;

inline uint64_t& count_of(ErrorCounts& counts, ErrorCode code) {
  return counts[static_cast<size_t>(-static_cast<int>(code) - 1)];
}

struct FlowStats {
  uint64_t total_requests = 0;               // accepted
  uint64_t refused = 0;                      // for a limit
  int64_t active_requests = 0, running = 0;  // that have not ended; of them those that run
  uint64_t preempted = 0;                    // times that a request gave way
  uint64_t cancelled = 0, failed = 0;
  ErrorCounts errors{};

  int64_t kv_blocks_used = 0;  // each counts for every request that uses it
  uint64_t prefix_hits = 0;    // requests that found some of their prompt in the cache
  uint64_t prefix_tokens = 0;  // tokens they need not compute

  uint64_t prompt_tokens = 0;  // of prompts that came, computed or cached
  uint64_t tokens_generated = 0;
  uint64_t rows_computed = 0;      // tokens through the model, guesses and recomputation included
  int64_t tokens_last_minute = 0;  // as the limit counts them
  uint64_t draft_tokens = 0, accepted_tokens = 0;

  LatencyHistogram queue_wait, time_to_first_token, inter_token_latency;
};

}  // namespace realm
