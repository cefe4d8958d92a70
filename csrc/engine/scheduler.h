// Who has which rows in the next step. Answers under way come first, one row each and their
// guesses; prompts share what is left of the budget in chunks, and those who wait enter among them,
// as long as there are places and blocks. When blocks run out, somebody gives his own back and
// waits to compute them anew.
//
// Between flows the work is shared by weight, counted in rows (start-time fair queueing): each flow
// has a virtual time that its rows move on, and the flow that is furthest behind goes first; one
// that had nothing to ask for comes back at the present virtual time, without credit. A place is
// taken from a flow that holds more than its part for one that waits with less; of a flow the
// lowest in rank gives way. docs/decisions/0011-tenants-are-flows.md has the rules.
//
// The first request of the flow whose first request is the oldest is put out by nobody, and
// goes on; so every request ends.
//
// Pure bookkeeping over plain data and the block tables: it computes nothing and owns no sequence.
// Once there, a sequence moves between waiting and running without allocating, so that no failure
// leaves one in between.
// One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/flow_book.h"
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

  // The sequence waits from now on, in its flow; one without a flow joins the others without. It
  // must stay where it is until it is removed, and the flow as long as it has sequences.
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

  int64_t n_waiting() const { return n_waiting_; }
  int64_t n_running() const { return n_running_; }

 private:
  bool may_start(Clock::time_point now) const;
  template <class Plan>
  bool guarded(Sequence& sequence, Plan plan);

  void plan_decodes();
  void plan_decode(Sequence& sequence);
  void plan_prompts();
  FlowBook* next_flow() const;
  FlowBook* next_entrant(const FlowBook& first) const;
  bool may_enter(const FlowBook& flow) const;
  bool admit_next(const FlowBook& first);
  bool admit(Sequence& sequence);
  void plan_chunk(Sequence& sequence);
  void add_work(Sequence& sequence, int64_t n_rows, int64_t n_wanted);

  // What a flow holds of the engine, the larger of its parts of places and of blocks, over weight.
  double share(const FlowBook& flow, int64_t more_running, int64_t more_blocks) const;
  double share_with(const FlowBook& flow, const Sequence& entrant) const;
  double share_without(const FlowBook& flow, const Sequence& loser) const;
  bool is_level(const FlowBook& flow, const FlowBook& other) const;
  const FlowBook* largest(const FlowBook* but) const;
  Sequence* loser_to_entrant(const Sequence& entrant) const;
  Sequence& loser_to_growth(const Sequence& grower) const;
  bool fits_flow(const Sequence& sequence, int64_t n_tokens) const;
  bool reserve(Sequence& sequence, int64_t n_rows);
  void charge(Sequence& sequence, int64_t n_tokens);
  void preempt(Sequence& sequence);

  const SchedulerLimits limits_;
  KvSpace& space_;
  FlowBook common_;               // of sequences without a flow
  std::vector<FlowBook*> flows_;  // that have sequences
  int64_t n_waiting_ = 0, n_running_ = 0;
  uint64_t n_steps_ = 0;
  double virtual_time_ = 0;  // of the flow that was last let in

  // Of the plan in the making.
  std::vector<Work> work_;
  std::vector<Sequence*> turn_, admitted_, preempted_, failed_;
  int64_t rows_left_ = 0, wanted_left_ = 0;
  bool is_open_ = false;  // somebody may still enter
};

}  // namespace realm
