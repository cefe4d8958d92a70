// How an engine batches: plain options, each default stated here and nowhere else.
#pragma once

#include <cstdint>
#include <optional>

#include "realm/kv_type.h"

namespace realm {

struct EngineOptions {
  // Requests that run at once; others wait.
  int64_t max_sequences = 32;
  // Rows of one step: each running answer takes one, prompts share the rest in chunks. It bounds
  // how long a step takes, and so how soon a cancellation holds.
  int64_t max_step_tokens = 512;
  // Memory for keys and values. By default what max_sequences requests of the model's whole context
  // need, at most a quarter of the memory available when the engine is made, committed as it is
  // used; of a CUDA device three quarters of what is left there, committed at once.
  std::optional<uint64_t> kv_bytes{};
  KvType kv_type = KvType::kF16;
  // The same for a draft model, if there is one; by default at most half as much.
  std::optional<uint64_t> draft_kv_bytes{};
  // Requests of one namespace reuse the keys and values of prompts that begin alike.
  bool prefix_cache = true;
  // Requests that may wait besides those that run; one more is refused. By default no limit.
  std::optional<int64_t> max_queue{};
  // An idle engine waits this long after a request for others to start with it, unless
  // max_sequences of them are there. For bulk work; 0 starts at once.
  int64_t max_wait_ms = 0;

  // For tests: a hash over all logits that each request was sampled from, in its report.
  bool record_logits_hash = false;
  // For tests: blocks of the cache begin each life filled with NaN.
  bool poison_blocks = false;
};

}  // namespace realm
