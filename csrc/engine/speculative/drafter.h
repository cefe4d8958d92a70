// Who guesses the next tokens. One drafter serves all requests that name it, several at once, so
// that a draft model can batch them. It knows requests by id and holds for each what makes guessing
// cheap (an index, keys and values); nothing it says can change what a coupled request answers.
//
// Used by the engine's thread alone. Failing is allowed: a failure that concerns one request is
// written to its draft, one that concerns the drafter is thrown; either way the requests go on
// plainly and their status says why.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "engine/token_history.h"
#include "kv/prefix_index.h"
#include "realm/sampling_params.h"
#include "realm/speculative_config.h"

namespace realm {

// A request that wants guesses. Everything it refers to lives until propose() returns.
struct DraftRequest {
  uint64_t id;
  std::span<const int32_t> tokens;  // prompt and output; those of earlier calls, and more
  int64_t n_wanted;                 // guesses at most, 1 or more
  const SpeculativeConfig& config;
  const SamplingParams& params;
  const TokenHistory& history;  // of `tokens`
  uint64_t seed;
  int64_t max_length;      // that the request may reach: planned_length()
  const Namespace& space;  // who may reuse what is kept of `tokens`
};

// Guesses for the positions after a request's tokens.
struct Draft {
  std::vector<int32_t> tokens;
  // What each of `tokens` was drawn from, where it was drawn and the method needs to know; else
  // empty.
  std::vector<Distribution> laws;
  // Why there are no guesses this time; the next call may have some.
  std::string delay;
  // Why this request can expect no more guesses at all.
  std::string failure;
};

class Drafter {
 public:
  virtual ~Drafter() = default;

  // Fills drafts[i], which is empty, for requests[i].
  virtual void propose(std::span<const DraftRequest> requests, std::span<Draft> drafts) = 0;

  // Of the last guesses for `id`, the first `n_accepted` stand: what the drafter holds of the
  // others goes now.
  virtual void settle(uint64_t id, size_t n_accepted) noexcept = 0;

  // The request has ended or stopped speculating: all that is held for it goes. It may be unknown.
  virtual void forget(uint64_t id) noexcept = 0;

 protected:
  Drafter() = default;
  Drafter(const Drafter&) = delete;
  Drafter& operator=(const Drafter&) = delete;
};

}  // namespace realm
