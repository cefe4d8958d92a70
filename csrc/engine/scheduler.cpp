#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <new>
#include <tuple>

#include "base/error.h"

namespace realm {

Scheduler::Scheduler(const SchedulerLimits& limits, KvSpace& space)
    : limits_(limits), space_(space) {
  // In one plan a sequence enters once at most, and no more enter than there are places; those and
  // the ones that ran before may give way once each.
  const auto n = 2 * static_cast<size_t>(limits.max_sequences) + 1;
  work_.reserve(n);
  for (auto* list : {&turn_, &admitted_, &preempted_, &failed_}) list->reserve(n);
}

// A flow that did not wait for anything begins again where the others are.
void Scheduler::add(Sequence& sequence) {
  FlowBook& flow = sequence.flow ? *sequence.flow : common_;
  if (flow.is_idle()) flows_.push_back(&flow);
  sequence.flow = &flow;
  const bool is_first = flow.waiting.empty();
  flow.waiting.insert(&sequence);
  ++n_waiting_;
  if (is_first) flow.virtual_time = std::max(flow.virtual_time, virtual_time_);
}

void Scheduler::remove(Sequence& sequence) {
  FlowBook& flow = sequence.flow ? *sequence.flow : common_;
  n_waiting_ -= static_cast<int64_t>(flow.waiting.erase(&sequence));
  n_running_ -= static_cast<int64_t>(flow.running.erase(&sequence));
  flow.n_blocks -= sequence.n_blocks;
  sequence.n_blocks = 0;
  sequence.kv.clear();
  sequence.is_running = false;
  if (flow.is_idle()) std::erase(flows_, &flow);
}

bool Scheduler::may_start(Clock::time_point now) const {
  if (n_running_ > 0 || n_waiting_ >= limits_.max_sequences) return true;
  const auto start = next_start();
  return !start || now >= *start;
}

std::optional<Clock::time_point> Scheduler::next_start() const {
  if (n_running_ > 0 || n_waiting_ == 0) return std::nullopt;
  auto first = Clock::time_point::max();
  for (const FlowBook* flow : flows_) {
    for (const Sequence* sequence : flow->waiting) first = std::min(first, sequence->submitted_at);
  }
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
  is_open_ = may_start(now);
  plan_prompts();
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

// In case that there are more of them than rows: within a flow those who waited longest for a row
// go first, between flows those whose rows come first in virtual time.
void Scheduler::plan_decodes() {
  turn_.clear();
  for (FlowBook* flow : flows_) {
    const auto first = static_cast<ptrdiff_t>(turn_.size());
    std::ranges::copy_if(flow->running, std::back_inserter(turn_), &Sequence::is_decoding);
    const auto own = std::ranges::subrange(turn_.begin() + first, turn_.end());
    std::ranges::sort(own, [](const Sequence* a, const Sequence* b) {
      return a->last_step != b->last_step ? a->last_step < b->last_step : FlowBook::ByRank()(a, b);
    });
    double time = flow->virtual_time;
    for (Sequence* sequence : own) {
      sequence->turn = time;
      time += static_cast<double>(1 + sequence->n_drafted()) / flow->weight;
    }
  }
  std::ranges::sort(turn_, [](const Sequence* a, const Sequence* b) {
    return a->turn != b->turn ? a->turn < b->turn : a->order < b->order;
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
  const bool has_blocks = sequence.draft.empty() || (fits_flow(sequence, end) &&
                                                     sequence.kv.reserve(sequence.n_computed, end));
  if (!has_blocks) {  // guesses are not worth anybody's blocks
    sequence.draft.clear();
    sequence.kv.truncate(sequence.n_tokens());
  }
  const int64_t n = 1 + sequence.n_drafted();
  if (reserve(sequence, n)) add_work(sequence, n, n);
}

// Prompts under way, and those who wait to begin theirs: the flow furthest behind is next, with
// what it has begun before what it has not.
void Scheduler::plan_prompts() {
  turn_.clear();
  for (FlowBook* flow : flows_) {
    flow->next_prompt = turn_.size();
    std::ranges::copy_if(flow->running, std::back_inserter(turn_),
                         [](const Sequence* sequence) { return sequence->n_pending() > 1; });
    flow->end_prompt = turn_.size();
  }
  while (rows_left_ > 0) {
    FlowBook* flow = next_flow();
    if (!flow) return;
    if (!flow->has_prompt()) {
      is_open_ = admit_next(*flow);
      continue;
    }
    Sequence* sequence = turn_[flow->next_prompt++];
    if (!sequence->is_running) continue;
    guarded(*sequence, [&] {
      plan_chunk(*sequence);
      return true;
    });
  }
}

// Of the flows that have a prompt to go on with, or one that may enter.
FlowBook* Scheduler::next_flow() const {
  FlowBook* next = nullptr;
  for (FlowBook* flow : flows_) {
    if (!flow->has_prompt() && !may_enter(*flow)) continue;
    if (!next || flow->virtual_time < next->virtual_time) next = flow;
  }
  return next;
}

// Whether a flow's first could enter if there is room: it keeps within the flow's limits, and has
// not been put out in this very plan.
bool Scheduler::may_enter(const FlowBook& flow) const {
  if (!is_open_ || flow.waiting.empty() || std::ssize(admitted_) >= limits_.max_sequences) {
    return false;
  }
  const Sequence& first = **flow.waiting.begin();
  if (first.left_step == n_steps_) return false;
  if (flow.running.empty()) return true;  // alone it keeps within them, as submission has checked
  // Each that runs may soon want a block more: who enters into the last ones is put out again.
  return flow.n_running() < flow.max_running &&
         flow.n_blocks + space_.blocks_for(first.n_tokens()) <=
             flow.max_blocks - std::min(flow.max_blocks, flow.n_running());
}

// Of the flows that are about equally far behind, within a step's rows, the one that would hold
// least.
FlowBook* Scheduler::next_entrant(const FlowBook& first) const {
  FlowBook* next = nullptr;
  double least = 0;
  for (FlowBook* flow : flows_) {
    if (flow->has_prompt() || !may_enter(*flow) || !is_level(*flow, first)) continue;
    const double held = share_with(*flow, **flow->waiting.begin());
    if (next && held >= least) continue;
    next = flow;
    least = held;
  }
  return next;
}

// False if nobody else can enter in this plan.
bool Scheduler::admit_next(const FlowBook& first) {
  FlowBook& flow = *next_entrant(first);
  Sequence& next = **flow.waiting.begin();
  if (!guarded(next, [&] { return admit(next); })) return false;
  virtual_time_ = std::max(virtual_time_, flow.virtual_time);
  const bool is_sound = guarded(next, [&] {
    plan_chunk(next);
    return true;
  });
  return is_sound && next.is_running;
}

// Gives a waiting sequence a place, its blocks, and what the cache still knows of its beginning.
bool Scheduler::admit(Sequence& sequence) {
  // Each that runs may soon want a block more: who enters into the last ones is put out again.
  const auto has_room = [&] {
    return n_running_ < limits_.max_sequences &&
           space_.has_room_for(sequence.n_tokens(), n_running_);
  };
  while (!has_room()) {
    if (n_running_ == 0) break;  // alone it fits, as submission has checked
    Sequence* loser = loser_to_entrant(sequence);
    if (!loser) return false;
    preempt(*loser);
  }
  sequence.n_computed = sequence.n_adopted = sequence.kv.adopt_prefix(sequence.generation.tokens());
  if (!sequence.kv.reserve_global(sequence.n_tokens())) {
    sequence.kv.clear();
    sequence.n_computed = 0;
    return false;
  }
  FlowBook& flow = *sequence.flow;
  flow.running.insert(flow.waiting.extract(&sequence));
  --n_waiting_;
  ++n_running_;
  sequence.is_running = true;
  sequence.entered_step = n_steps_;
  charge(sequence, sequence.n_tokens());
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

void Scheduler::add_work(Sequence& sequence, int64_t n_rows, int64_t n_wanted) {
  work_.push_back({&sequence, n_rows, n_wanted});
  rows_left_ -= n_rows;
  wanted_left_ -= n_wanted;
  sequence.last_step = n_steps_;
  sequence.flow->virtual_time += static_cast<double>(n_rows) / sequence.flow->weight;
}

double Scheduler::share(const FlowBook& flow, int64_t more_running, int64_t more_blocks) const {
  const auto part = [](int64_t n, int64_t all) {
    return static_cast<double>(n) / static_cast<double>(all);
  };
  return std::max(part(flow.n_running() + more_running, limits_.max_sequences),
                  part(flow.n_blocks + more_blocks, space_.n_blocks())) /
         flow.weight;
}

double Scheduler::share_with(const FlowBook& flow, const Sequence& entrant) const {
  return share(flow, 1, space_.blocks_for(entrant.n_tokens()));
}

double Scheduler::share_without(const FlowBook& flow, const Sequence& loser) const {
  return share(flow, -1, -loser.n_blocks);
}

// Whether a flow has had no more than another, give or take a step.
bool Scheduler::is_level(const FlowBook& flow, const FlowBook& other) const {
  return flow.virtual_time - other.virtual_time <= static_cast<double>(limits_.max_step_tokens);
}

// The running flow that holds most; null if none but `but` runs.
const FlowBook* Scheduler::largest(const FlowBook* but) const {
  const FlowBook* largest = nullptr;
  for (const FlowBook* flow : flows_) {
    if (flow == but || flow->running.empty()) continue;
    if (!largest || share(*flow, 0, 0) > share(*largest, 0, 0)) largest = flow;
  }
  return largest;
}

// Who gives a place or blocks to one that wants to enter; null if nobody has to. A lower priority
// of the same flow does. Another flow does if it has had no less than the entrant's, and holds no
// less than that even after the exchange: so no exchange is ever taken back.
Sequence* Scheduler::loser_to_entrant(const Sequence& entrant) const {
  const FlowBook& flow = *entrant.flow;
  if (!flow.running.empty() && (*flow.running.rbegin())->priority < entrant.priority) {
    return *flow.running.rbegin();
  }
  const FlowBook* other = largest(&flow);
  if (!other || !is_level(flow, *other)) return nullptr;
  Sequence* loser = *other->running.rbegin();
  const bool is_due =
      loser->entered_step != n_steps_ && share_with(flow, entrant) <= share_without(*other, *loser);
  return is_due ? loser : nullptr;
}

// Who gives blocks to one that runs and needs another, perhaps itself: the flow that clearly holds
// most; where none does, the flow whose first request came last. Never the only running request of
// the flow whose first is the oldest.
Sequence& Scheduler::loser_to_growth(const Sequence& grower) const {
  const FlowBook& flow = *grower.flow;
  const FlowBook& most = *largest(nullptr);
  Sequence& loser = **most.running.rbegin();
  const bool is_clear =
      &most == &flow ? flow.running.size() > 1 : share_without(most, loser) >= share(flow, 0, 0);
  if (is_clear) return loser;
  const FlowBook* youngest = &flow;
  for (const FlowBook* other : flows_) {
    if (other->running.empty()) continue;
    if (other->top().order > youngest->top().order) youngest = other;
  }
  return **youngest->running.rbegin();
}

// Whether its flow's limit of blocks lets a running sequence reach over `n_tokens`.
bool Scheduler::fits_flow(const Sequence& sequence, int64_t n_tokens) const {
  const FlowBook& flow = *sequence.flow;
  return flow.n_blocks - sequence.n_blocks + space_.blocks_for(n_tokens) <= flow.max_blocks;
}

// Blocks for the sequence's next rows, at the cost of others if it must be. False if it gave way
// itself.
bool Scheduler::reserve(Sequence& sequence, int64_t n_rows) {
  const int64_t end = sequence.n_computed + n_rows;
  while (!fits_flow(sequence, std::max(end, sequence.n_tokens()))) {
    preempt(**sequence.flow->running.rbegin());
    if (!sequence.is_running) return false;
  }
  while (!sequence.kv.reserve(sequence.n_computed, end)) {
    preempt(loser_to_growth(sequence));
    if (!sequence.is_running) return false;
  }
  charge(sequence, end);
  return true;
}

// The blocks of its first n_tokens, and of all its tokens, are the sequence's.
void Scheduler::charge(Sequence& sequence, int64_t n_tokens) {
  const int64_t n = space_.blocks_for(std::max(n_tokens, sequence.n_tokens()));
  sequence.flow->n_blocks += n - sequence.n_blocks;
  sequence.n_blocks = n;
}

void Scheduler::preempt(Sequence& sequence) {
  FlowBook& flow = *sequence.flow;
  const auto own = std::ranges::find(work_, &sequence, &Work::sequence);
  if (own != work_.end()) {
    rows_left_ += own->n_rows;
    wanted_left_ += own->n_wanted;
    flow.virtual_time -= static_cast<double>(own->n_rows) / flow.weight;
    work_.erase(own);
  }
  flow.waiting.insert(flow.running.extract(&sequence));
  --n_running_;
  ++n_waiting_;
  flow.n_blocks -= sequence.n_blocks;
  sequence.n_blocks = 0;
  sequence.kv.clear();
  sequence.n_computed = 0;
  sequence.draft.clear();
  sequence.is_running = false;
  sequence.left_step = n_steps_;
  preempted_.push_back(&sequence);
}

}  // namespace realm
