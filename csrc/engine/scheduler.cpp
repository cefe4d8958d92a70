#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <tuple>

#include "base/error.h"

namespace realm {

bool Scheduler::ByRank::operator()(const Sequence* a, const Sequence* b) const {
  return std::tuple(-int64_t{a->priority}, a->order) < std::tuple(-int64_t{b->priority}, b->order);
}

Scheduler::Scheduler(const SchedulerLimits& limits, KvSpace& space)
    : limits_(limits), space_(space) {
  // In one plan each place is filled once and emptied once at most, and one more gives up entering.
  const auto n = 2 * static_cast<size_t>(limits.max_sequences) + 1;
  work_.reserve(n);
  for (auto* list : {&turn_, &admitted_, &preempted_, &failed_}) list->reserve(n);
}

void Scheduler::add(Sequence& sequence) {
  waiting_.insert(&sequence);
}

void Scheduler::remove(Sequence& sequence) {
  waiting_.erase(&sequence);
  running_.erase(&sequence);
  sequence.kv.clear();
  sequence.is_running = false;
}

// Who enters next: the one place where fairness between requests is decided.
Sequence* Scheduler::next_waiting() const {
  return waiting_.empty() ? nullptr : *waiting_.begin();
}

bool Scheduler::may_start(Clock::time_point now) const {
  if (!running_.empty() || n_waiting() >= limits_.max_sequences) return true;
  const auto start = next_start();
  return !start || now >= *start;
}

std::optional<Clock::time_point> Scheduler::next_start() const {
  if (!running_.empty() || waiting_.empty()) return std::nullopt;
  auto first = Clock::time_point::max();
  for (const Sequence* sequence : waiting_) first = std::min(first, sequence->submitted_at);
  return first + limits_.max_wait;
}

std::span<const Work> Scheduler::plan(Clock::time_point now) {
  ++n_steps_;
  work_.clear();
  admitted_.clear();
  preempted_.clear();
  failed_.clear();
  rows_left_ = limits_.max_step_tokens;
  wanted_left_ = limits_.max_wanted;
  plan_decodes();
  plan_prompts();
  if (may_start(now)) admit_waiting();
  return work_;
}

// Whether a sequence's part of the plan was made; if memory fails it, it is out.
template <class Plan>
bool Scheduler::guarded(Sequence& sequence, Plan plan) {
  try {
    return plan();
  } catch (const std::bad_alloc&) {
    failed_.push_back(&sequence);
    return false;
  }
}

// Those who waited longest for a row first, in case that there are more of them than rows.
void Scheduler::plan_decodes() {
  turn_.clear();
  std::ranges::copy_if(running_, std::back_inserter(turn_), &Sequence::is_decoding);
  std::ranges::sort(turn_, [](const Sequence* a, const Sequence* b) {
    return a->last_step != b->last_step ? a->last_step < b->last_step : ByRank()(a, b);
  });
  for (Sequence* sequence : turn_) {
    if (!sequence->is_running) continue;  // gave way meanwhile
    if (std::min(rows_left_, wanted_left_) == 0) return;
    guarded(*sequence, [&] {
      plan_decode(*sequence);
      return true;
    });
  }
}

void Scheduler::plan_decode(Sequence& sequence) {
  const int64_t most =
      std::min(std::min(rows_left_, wanted_left_) - 1, sequence.max_length - sequence.n_tokens());
  if (sequence.n_drafted() > most) sequence.draft.resize(static_cast<size_t>(most));
  const int64_t end = sequence.n_tokens() + sequence.n_drafted();
  if (!sequence.draft.empty() && !sequence.kv.reserve(sequence.n_computed, end)) {
    sequence.draft.clear();  // guesses are not worth anybody's blocks
  }
  const int64_t n = 1 + sequence.n_drafted();
  if (reserve(sequence, n)) add_work(sequence, n, n);
}

void Scheduler::plan_prompts() {
  turn_.clear();
  std::ranges::copy_if(running_, std::back_inserter(turn_),
                       [](const Sequence* sequence) { return sequence->n_pending() > 1; });
  for (Sequence* sequence : turn_) {
    if (!sequence->is_running) continue;
    guarded(*sequence, [&] {
      plan_chunk(*sequence);
      return true;
    });
  }
}

void Scheduler::admit_waiting() {
  while (rows_left_ > 0) {
    Sequence* next = next_waiting();
    if (!next || !guarded(*next, [&] { return admit(*next); })) return;
    const bool is_sound = guarded(*next, [&] {
      plan_chunk(*next);
      return true;
    });
    if (!is_sound || !next->is_running) return;
  }
}

// Gives a waiting sequence a place, its blocks, and what the cache still knows of its beginning.
bool Scheduler::admit(Sequence& sequence) {
  // Each that runs may soon want a block more: who enters into the last ones is put out again.
  const auto has_room = [&] {
    return n_running() < limits_.max_sequences &&
           space_.has_room_for(sequence.n_tokens(), n_running());
  };
  while (!has_room()) {
    if (running_.empty()) break;  // alone it fits, as submission has checked
    const Sequence* lowest = *running_.rbegin();
    if (lowest->priority >= sequence.priority || !give_way(sequence)) return false;
  }
  sequence.n_computed = sequence.n_adopted = sequence.kv.adopt_prefix(sequence.generation.tokens());
  if (!sequence.kv.reserve_global(sequence.n_tokens())) {
    sequence.kv.clear();
    sequence.n_computed = 0;
    return false;
  }
  running_.insert(waiting_.extract(&sequence));
  sequence.is_running = true;
  admitted_.push_back(&sequence);
  return true;
}

// As much of a prompt as the budget has rows for. Logits are wanted after its last token only.
void Scheduler::plan_chunk(Sequence& sequence) {
  int64_t n = std::min(sequence.n_pending(), rows_left_);
  const bool is_last = n == sequence.n_pending();
  if (is_last && wanted_left_ == 0) --n;
  if (n <= 0 || !reserve(sequence, n)) return;
  add_work(sequence, n, n == sequence.n_pending() ? 1 : 0);
}

// Blocks for the sequence's next rows, at the cost of those lower in rank. If there are none lower,
// it gives way itself: false.
bool Scheduler::reserve(Sequence& sequence, int64_t n_rows) {
  while (!sequence.kv.reserve(sequence.n_computed, sequence.n_computed + n_rows)) {
    if (give_way(sequence)) continue;
    preempt(sequence);
    return false;
  }
  return true;
}

// Puts the lowest of those that run back into the queue, if it is below `to`.
bool Scheduler::give_way(const Sequence& to) {
  Sequence* lowest = *running_.rbegin();
  if (!ByRank()(&to, lowest)) return false;
  preempt(*lowest);
  return true;
}

void Scheduler::preempt(Sequence& sequence) {
  const auto own = std::ranges::find(work_, &sequence, &Work::sequence);
  if (own != work_.end()) {
    rows_left_ += own->n_rows;
    wanted_left_ += own->n_wanted;
    work_.erase(own);
  }
  waiting_.insert(running_.extract(&sequence));
  sequence.kv.clear();
  sequence.n_computed = 0;
  sequence.draft.clear();
  sequence.is_running = false;
  preempted_.push_back(&sequence);
}

void Scheduler::add_work(Sequence& sequence, int64_t n_rows, int64_t n_wanted) {
  work_.push_back({&sequence, n_rows, n_wanted});
  rows_left_ -= n_rows;
  wanted_left_ -= n_wanted;
  sequence.last_step = n_steps_;
}

}  // namespace realm
