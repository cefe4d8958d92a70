// What an engine has done so far, as numbers. A snapshot; plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/flow_stats.h"
#include "engine/latency_histogram.h"

namespace realm {

struct EngineStats {
  uint64_t total_requests = 0;  // ever accepted
  int64_t active_requests = 0;  // that have not ended: waiting and running
  int64_t waiting = 0, running = 0;
  // Tokens of prompt and answer so far, mean over all requests that have entered.
  double average_sequence_length = 0;
  uint64_t preempted = 0;  // times that a request gave way
  uint64_t refused = 0;    // for max_queue or a flow's limit
  uint64_t cancelled = 0, failed = 0;
  ErrorCounts errors{};  // those that failed, by why

  int64_t kv_blocks_used = 0, kv_blocks_total = 0;
  int64_t kv_blocks_cached = 0;  // in nobody's use, kept for requests that begin alike
  uint64_t prefix_hits = 0;      // requests that found some of their prompt in the cache
  uint64_t prefix_tokens = 0;    // tokens they need not compute

  uint64_t prompt_tokens = 0;  // computed for prompts, and again after preemptions
  uint64_t tokens_generated = 0;
  double tokens_per_second = 0;  // generated, over the last ten seconds
  uint64_t draft_tokens = 0, accepted_tokens = 0;
  uint64_t verifications = 0;                             // of one request's guesses each
  double draft_seconds = 0;                               // in drafters; not part of step_seconds
  int64_t draft_blocks_used = 0, draft_blocks_total = 0;  // of the draft model's own cache

  uint64_t steps = 0;            // forwards, abandoned ones included
  uint64_t abandoned_steps = 0;  // given up because nobody wanted them any more
  double step_seconds = 0;
  std::vector<uint64_t> batch_widths;  // [n]: steps that served n requests
  LatencyHistogram queue_wait, time_to_first_token, inter_token_latency;
};

}  // namespace realm
