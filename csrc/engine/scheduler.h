// Who has which rows in the next step. Answers under way come first, one row each and their
// guesses; prompts share what is left of the budget in chunks; then those who wait enter, as long
// as there are places and blocks. When blocks run out, the lowest in rank gives its own back and
// waits to compute them anew. The highest in rank therefore always goes on, so every request ends.
//
// Pure bookkeeping over plain data and the block tables: it computes nothing and owns no sequence.
// Once there, a sequence moves between waiting and running without allocating, so that no failure
// leaves one in between.
// One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "engine/sequence.h"
#include "kv/kv_space.h"

namespace realm {

struct SchedulerLimits {
  int64_t max_sequences = 32;
  int64_t max_step_tokens = 512;
  int64_t max_wanted = 32;  // rows of a step that can have logits
  std::chrono::milliseconds max_wait{0};
};

// A sequence's rows in a step: its next n_rows tokens, guesses last. The last n_wanted of them want
// logits.
struct Work {
  Sequence* sequence;
  int64_t n_rows;
  int64_t n_wanted;
};

class Scheduler {
 public:
  Scheduler(const SchedulerLimits& limits, KvSpace& space);

  // The sequence waits from now on. It must stay where it is until it is removed.
  void add(Sequence& sequence);
  // It has ended: its blocks are free.
  void remove(Sequence& sequence);

  // The rows of the next step; empty if nobody can have any yet. Valid until the next call.
  std::span<const Work> plan(Clock::time_point now);
  // Who entered, who gave way, and whose books found no memory, while the last plan was made. The
  // last have no rows, and are to be ended.
  std::span<Sequence* const> admitted() const { return admitted_; }
  std::span<Sequence* const> preempted() const { return preempted_; }
  std::span<Sequence* const> failed() const { return failed_; }
  // When an empty plan could change by itself; none if it cannot.
  std::optional<Clock::time_point> next_start() const;

  int64_t n_waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t n_running() const { return static_cast<int64_t>(running_.size()); }

 private:
  struct ByRank {
    bool operator()(const Sequence* a, const Sequence* b) const;
  };

  Sequence* next_waiting() const;
  bool may_start(Clock::time_point now) const;
  template <class Plan>
  bool guarded(Sequence& sequence, Plan plan);
  void plan_decodes();
  void plan_decode(Sequence& sequence);
  void plan_prompts();
  void admit_waiting();
  bool admit(Sequence& sequence);
  void plan_chunk(Sequence& sequence);
  bool reserve(Sequence& sequence, int64_t n_rows);
  bool give_way(const Sequence& to);
  void preempt(Sequence& sequence);
  void add_work(Sequence& sequence, int64_t n_rows, int64_t n_wanted);

  const SchedulerLimits limits_;
  KvSpace& space_;
  std::set<Sequence*, ByRank> waiting_, running_;  // the highest in rank first
  uint64_t n_steps_ = 0;

  // Of the plan in the making.
  std::vector<Work> work_;
  std::vector<Sequence*> turn_, admitted_, preempted_, failed_;
  int64_t rows_left_ = 0, wanted_left_ = 0;
};

}  // namespace realm
