// What one tenant may take of a model: plain options. What is not set has no limit but the engine's
// own. A request above a limit is refused with kQuotaExceeded, which names the limit, what it is
// and what it would have become; two limits make requests wait instead, and say so.
#pragma once

#include <cstdint>
#include <optional>

namespace realm {

struct Quota {
  // Requests that run at once; more of them wait.
  std::optional<int64_t> concurrent_requests{};
  // Requests that may wait besides those that may run: one more is refused. Those that may run are
  // concurrent_requests, or else the engine's max_sequences.
  std::optional<int64_t> queued_requests{};
  // Blocks of the cache (16 tokens each) that running requests hold together, each counting all
  // that it uses; more of them wait. A request that could need more alone is refused.
  std::optional<int64_t> kv_blocks{};
  // Memory of the adapters that a request computes with.
  std::optional<uint64_t> adapter_bytes{};
  // Tokens of prompts and answers within any 60 seconds. A request counts with its prompt and its
  // max_tokens until it has ended, then for 60 seconds with what it took.
  std::optional<int64_t> tokens_per_minute{};
  // The max_tokens that a request may ask for.
  std::optional<int64_t> max_tokens{};

  bool operator==(const Quota&) const = default;
};

}  // namespace realm
