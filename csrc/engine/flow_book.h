// A flow in the scheduler's books: what it may have, what it has, and how much it has had. Plain
// data on the engine's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>

namespace realm {

struct Sequence;

struct FlowBook {
  // Of one flow's sequences the highest in rank comes first: the highest priority, then the first
  // to come.
  struct ByRank {
    bool operator()(const Sequence* a, const Sequence* b) const;
  };
  using Sequences = std::set<Sequence*, ByRank>;
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

  double weight = 1;
  int64_t max_running = kNoLimit, max_blocks = kNoLimit;

  Sequences waiting{}, running{};
  int64_t n_blocks = 0;     // of the running ones, each counting all that it may use
  double virtual_time = 0;  // tokens computed so far, over weight; never behind the scheduler's
  size_t next_prompt = 0, end_prompt = 0;  // in the plan in the making: those not looked at yet

  int64_t n_running() const { return static_cast<int64_t>(running.size()); }
  bool is_idle() const { return waiting.empty() && running.empty(); }
  bool has_prompt() const { return next_prompt < end_prompt; }
  // Its highest in rank, waiting or running; it must not be idle.
  const Sequence& top() const;
};

}  // namespace realm
