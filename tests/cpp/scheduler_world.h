// What the scheduler's suites share: sequences whose tokens cost nothing, and what a forward would
// make of them.
#pragma once

#include <algorithm>
#include <random>
#include <span>
#include <vector>

#include "cpp/harness.h"
#include "engine/scheduler.h"

namespace realm::test {

using Random = std::mt19937;
using Tokens = std::vector<int32_t>;

inline int64_t between(Random& random, int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random);
}

// What the engine would make of a request of this many tokens.
inline Sequence sequence_of(KvSpace& space, uint64_t order, int64_t n_prompt, int64_t max_tokens,
                            int32_t priority = 0, FlowBook* flow = nullptr) {
  SamplingParams params;
  params.max_tokens = max_tokens;
  Tokens prompt(static_cast<size_t>(n_prompt), static_cast<int32_t>(order % 7));
  return {.request = nullptr,
          .generation = {nullptr, params, 1, std::move(prompt), n_prompt + max_tokens},
          .kv = {space, Namespace{}, chain_root({}, {})},
          .priority = priority,
          .order = order,
          .max_length = n_prompt + max_tokens,
          .submitted_at = Clock::time_point{},
          .flow = flow};
}

// What a forward would do: rows enter the cache, and an answer grows by the guesses that stand and
// one token more.
inline void compute(const Work& work, Random& random) {
  Sequence& sequence = *work.sequence;
  const int64_t n_stand = between(random, 0, sequence.n_drafted());
  sequence.n_computed += work.n_rows - sequence.n_drafted() + n_stand;
  if (work.n_wanted > 0) {
    for (int64_t i = 0; i <= n_stand && !sequence.generation.is_full(); ++i) {
      sequence.generation.take(3);
    }
  }
  sequence.n_computed = std::min(sequence.n_computed, sequence.n_tokens() - 1);
  if (sequence.n_drafted() > 0) sequence.kv.truncate(sequence.n_computed);
  sequence.draft.clear();
  sequence.kv.publish(sequence.generation.tokens(), sequence.n_computed);
}

inline bool has_blocks_for(const Work& work, const KvSpaceShape& shape) {
  const Sequence& sequence = *work.sequence;
  const auto end = static_cast<size_t>(sequence.n_computed + work.n_rows);
  const size_t n =
      (end + static_cast<size_t>(shape.block_tokens) - 1) / static_cast<size_t>(shape.block_tokens);
  const auto reach = [n](std::span<const BlockId> blocks) {
    return blocks.size() >= n && blocks[n - 1] != kNoBlock;
  };
  return reach(sequence.kv.global_blocks()) &&
         (shape.window == 0 || reach(sequence.kv.window_blocks()));
}

inline KvSpaceShape blocks(int64_t n_global, int64_t max_chunk) {
  return {.block_tokens = 4, .n_global_blocks = n_global, .max_chunk = max_chunk};
}

}  // namespace realm::test
