// A request on the engine's thread: its answer, what of it is in the cache, and its place in the
// queue. Plain data that the scheduler and the runner work on.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/flow_book.h"
#include "engine/generation.h"
#include "engine/request.h"
#include "engine/speculative/speculation.h"
#include "kv/kv_space.h"

namespace realm {

struct Sequence {
  std::shared_ptr<Request> request;
  Generation generation;
  KvSequence kv;
  std::shared_ptr<const AdapterSet> adapters{};  // null: the base alone
  int32_t priority = 0;
  uint64_t order = 0;      // of arrival
  int64_t max_length = 0;  // planned: see planned_length()
  Clock::time_point submitted_at{};
  std::optional<Clock::time_point> deadline{};

  FlowBook* flow = nullptr;  // the scheduler finds one for those without

  bool is_running = false, has_started = false;
  int64_t n_blocks = 0;                      // as its flow counts them
  uint64_t entered_step = 0, left_step = 0;  // when it last began or ceased to run
  double turn = 0;                           // in virtual time, while a plan is made
  int64_t n_adopted = 0;                     // tokens found in the cache when it last entered
  int64_t n_computed = 0;        // leading tokens whose keys and values are in the cache
  uint64_t last_step = 0;        // when it last had rows
  std::vector<int32_t> draft{};  // guesses for the tokens after these, verified in the same forward
  std::unique_ptr<Speculation> speculation{};  // null for plain requests
  std::optional<Clock::time_point> last_token_at{};
  uint64_t logits_hash = 0;

  int64_t n_tokens() const { return static_cast<int64_t>(generation.tokens().size()); }
  int64_t n_drafted() const { return static_cast<int64_t>(draft.size()); }
  // Tokens that have not been through the model: one while decoding, more for a prompt and after a
  // preemption.
  int64_t n_pending() const { return n_tokens() - n_computed; }
  bool is_decoding() const { return n_pending() == 1; }
};

}  // namespace realm
