#include "engine/flow.h"

#include <cmath>

#include "base/error.h"

namespace realm {

namespace {

constexpr int64_t kNoLimit = FlowBook::kNoLimit;

const FlowOptions& validated(const FlowOptions& options) {
  REALM_CHECK(std::isfinite(options.weight) && options.weight >= 1e-3 && options.weight <= 1e3,
              "weight must be from 0.001 to 1000, is ", options.weight);
  const FlowLimits& limits = options.limits;
  const auto check = [](const char* name, const std::optional<int64_t>& limit, int64_t least) {
    REALM_CHECK(!limit || *limit >= least, name, " must be at least ", least, ", is ", *limit);
  };
  check("concurrent_requests", limits.concurrent_requests, 1);
  check("queued_requests", limits.queued_requests, 0);
  check("kv_blocks", limits.kv_blocks, 1);
  check("tokens_per_minute", limits.tokens_per_minute, 1);
  check("max_tokens", limits.max_tokens, 1);
  return options;
}

// Requests that may be there at once.
int64_t max_live(const FlowLimits& limits, int64_t max_sequences) {
  if (!limits.queued_requests) return kNoLimit;
  const int64_t runnable = limits.concurrent_requests.value_or(max_sequences);
  return *limits.queued_requests > kNoLimit - runnable ? kNoLimit
                                                       : *limits.queued_requests + runnable;
}

void require(const char* quota, const std::optional<int64_t>& limit, int64_t value) {
  if (limit && value > *limit) fail_quota({quota, *limit, value});
}

}  // namespace

Flow::Flow(const FlowOptions& options, int64_t max_sequences, const void* engine)
    : options_(validated(options)),
      max_live_(max_live(options.limits, max_sequences)),
      engine_(engine),
      book_{.weight = options.weight,
            .max_running = options.limits.concurrent_requests.value_or(kNoLimit),
            .max_blocks = options.limits.kv_blocks.value_or(kNoLimit)} {}

FlowStats Flow::stats() const {
  const std::lock_guard lock(mutex_);
  FlowStats stats = stats_;
  stats.tokens_last_minute = tokens_.count(std::chrono::steady_clock::now());
  return stats;
}

void Flow::enter(const FlowClaim& claim, int64_t n_prompt, Time now) {
  const std::lock_guard lock(mutex_);
  const FlowLimits& limits = options_.limits;
  try {
    require("max_tokens", limits.max_tokens, claim.max_tokens);
    require("kv_blocks", limits.kv_blocks, claim.kv_blocks);
    if (stats_.active_requests >= max_live_) {
      const int64_t queued = *limits.queued_requests;
      fail_quota({"queued_requests", queued, queued + stats_.active_requests - max_live_ + 1});
    }
    require("tokens_per_minute", limits.tokens_per_minute, tokens_.count(now) + claim.n_tokens);
  } catch (const Error&) {
    ++stats_.refused;
    throw;
  }
  tokens_.begin(claim.n_tokens);
  ++stats_.total_requests;
  ++stats_.active_requests;
  stats_.prompt_tokens += static_cast<uint64_t>(n_prompt);
}

void Flow::leave(const FlowClaim& claim, int64_t n_used, Time now) {
  const std::lock_guard lock(mutex_);
  tokens_.end(claim.n_tokens, n_used, now);
  --stats_.active_requests;
}

void Flow::note_refused() {
  note([](FlowStats& stats) { ++stats.refused; });
}

void Flow::charge(int64_t n_tokens, Time now) {
  REALM_CHECK(!is_closed(), "whose work this is has been released");
  const std::lock_guard lock(mutex_);
  require_or_note("tokens_per_minute", options_.limits.tokens_per_minute,
                  tokens_.count(now) + n_tokens);
  tokens_.begin(n_tokens);
  tokens_.end(n_tokens, n_tokens, now);
  stats_.rows_computed += static_cast<uint64_t>(n_tokens);
}

void Flow::take_blocks(int64_t n) {
  const std::lock_guard lock(mutex_);
  require_or_note("kv_blocks", options_.limits.kv_blocks, own_blocks_ + n);
  own_blocks_ += n;
}

void Flow::give_back(int64_t n) {
  const std::lock_guard lock(mutex_);
  own_blocks_ -= n;
}

// The caller holds the lock.
void Flow::require_or_note(const char* quota, const std::optional<int64_t>& limit, int64_t value) {
  if (limit && value > *limit) ++stats_.refused;
  require(quota, limit, value);
}

}  // namespace realm
