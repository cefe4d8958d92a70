// What an engine has done so far, as numbers. A snapshot; plain data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace realm {

// Counts durations in buckets that are an eighth of an octave wide, so that quantiles are within 10
// % and memory does not grow. From 1 microsecond to 18 minutes; what is outside counts at the ends.
class LatencyHistogram {
 public:
  void add(int64_t ns, uint64_t times = 1);
  uint64_t count() const { return count_; }
  // Seconds that a part `q` of all durations stay at or below; 0 when there are none.
  double quantile(double q) const;
  double max() const { return static_cast<double>(max_ns_) * 1e-9; }

 private:
  static constexpr int kFirstOctave = 10, kOctaves = 30, kSteps = 8;
  std::array<uint64_t, kOctaves * kSteps> buckets_{};
  uint64_t count_ = 0;
  int64_t max_ns_ = 0;
};

struct EngineStats {
  uint64_t total_requests = 0;  // ever accepted
  int64_t active_requests = 0;  // that have not ended: waiting and running
  int64_t waiting = 0, running = 0;
  // Tokens of prompt and answer so far, mean over all requests that have entered.
  double average_sequence_length = 0;
  uint64_t preempted = 0;  // times that a request gave way
  uint64_t cancelled = 0, failed = 0;

  int64_t kv_blocks_used = 0, kv_blocks_total = 0;
  int64_t kv_blocks_cached = 0;  // in nobody's use, kept for requests that begin alike
  uint64_t prefix_hits = 0;      // requests that found some of their prompt in the cache
  uint64_t prefix_tokens = 0;    // tokens they need not compute

  uint64_t prompt_tokens = 0;  // computed for prompts, and again after preemptions
  uint64_t tokens_generated = 0;
  uint64_t draft_tokens = 0, accepted_tokens = 0;
  uint64_t verifications = 0;                             // of one request's guesses each
  double draft_seconds = 0;                               // in drafters; not part of step_seconds
  int64_t draft_blocks_used = 0, draft_blocks_total = 0;  // of the draft model's own cache

  uint64_t steps = 0;            // forwards, abandoned ones included
  uint64_t abandoned_steps = 0;  // given up because nobody wanted them any more
  double step_seconds = 0;
  std::vector<uint64_t> batch_widths;  // [n]: steps that served n requests
  LatencyHistogram time_to_first_token, inter_token_latency;
};

}  // namespace realm
