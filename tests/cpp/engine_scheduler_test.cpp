// The scheduler without a model: random crowds of sequences, whose tokens cost nothing, over pools
// from generous to starving. Every plan keeps every limit, and every sequence reaches its end.
#include <algorithm>
#include <list>
#include <set>

#include "cpp/scheduler_world.h"

using namespace realm;
using namespace realm::test;

namespace {

struct Crowd {
  SchedulerLimits limits;
  KvSpaceShape shape;
  int64_t n_sequences = 30, max_length = 60;
};

struct Outcome {
  int64_t n_steps = 0, n_preempted = 0, widest = 0;
  bool is_sound = true;
};

// Lets a crowd through, a few at a time.
Outcome let_through(const Crowd& crowd, unsigned seed) {
  Random random(seed);
  KvSpace space(crowd.shape);
  Scheduler scheduler(crowd.limits, space);
  std::list<Sequence> sequences;
  Outcome outcome;
  uint64_t order = 0;
  while (outcome.is_sound &&
         (order < static_cast<uint64_t>(crowd.n_sequences) || !sequences.empty())) {
    while (order < static_cast<uint64_t>(crowd.n_sequences) && between(random, 0, 3) == 0) {
      const int64_t n_prompt = between(random, 1, crowd.max_length - 1);
      sequences.push_back(sequence_of(space, order++, n_prompt,
                                      between(random, 1, crowd.max_length - n_prompt),
                                      static_cast<int32_t>(between(random, 0, 5) == 0)));
      scheduler.add(sequences.back());
    }
    for (Sequence& sequence : sequences) {
      if (!sequence.is_running || !sequence.is_decoding() || between(random, 0, 1)) continue;
      const int64_t room = sequence.max_length - sequence.n_tokens();
      sequence.draft.assign(static_cast<size_t>(between(random, 0, std::min<int64_t>(3, room))), 9);
    }
    const auto plan = scheduler.plan(Clock::time_point{});
    ++outcome.n_steps;
    outcome.n_preempted += std::ssize(scheduler.preempted());
    outcome.widest = std::max<int64_t>(outcome.widest, std::ssize(plan));
    int64_t rows = 0, wanted = 0;
    std::set<const Sequence*> seen;
    for (const Work& work : plan) {
      rows += work.n_rows;
      wanted += work.n_wanted;
      outcome.is_sound &= work.n_rows >= 1 && work.n_wanted <= work.n_rows;
      outcome.is_sound &= seen.insert(work.sequence).second && work.sequence->is_running;
      outcome.is_sound &= has_blocks_for(work, crowd.shape);
    }
    outcome.is_sound &= rows <= crowd.limits.max_step_tokens && wanted <= crowd.limits.max_wanted;
    outcome.is_sound &= scheduler.n_running() <= crowd.limits.max_sequences;
    outcome.is_sound &= sequences.empty() || !plan.empty();
    outcome.is_sound &= outcome.n_steps < 100'000;  // or somebody never ends
    for (const Work& work : plan) compute(work, random);
    for (auto at = sequences.begin(); at != sequences.end();) {
      const bool is_done = at->generation.is_full() || between(random, 0, 200) == 0;
      if (is_done) scheduler.remove(*at);
      at = is_done ? sequences.erase(at) : std::next(at);
    }
  }
  outcome.is_sound &= space.n_used() == 0;
  return outcome;
}

}  // namespace

TEST(every_plan_keeps_every_limit_and_every_sequence_ends) {
  int64_t n_preempted = 0, widest = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    for (const int64_t budget : {1, 5, 16, 200}) {
      for (const int64_t n_blocks : {15, 20, 40, 400}) {
        const Crowd crowd{
            .limits = {.max_sequences = 8, .max_step_tokens = budget, .max_wanted = 12},
            .shape = blocks(n_blocks, budget)};
        const Outcome outcome = let_through(crowd, seed);
        n_preempted += outcome.n_preempted;
        widest = std::max(widest, outcome.widest);
        if (outcome.is_sound) continue;
        test::report_failure(__FILE__, __LINE__,
                             concat("seed ", seed, ", budget ", budget, ", blocks ", n_blocks));
      }
    }
  }
  EXPECT(n_preempted > 1000);
  EXPECT_EQ(widest, 8);
}

TEST(sliding_windows_keep_them_too) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    for (const int64_t n_window : {6, 9, 30}) {
      const Crowd crowd{.limits = {.max_sequences = 8, .max_step_tokens = 8, .max_wanted = 8},
                        .shape = {.block_tokens = 4,
                                  .window = 6,
                                  .n_global_blocks = 20,
                                  .n_window_blocks = n_window,
                                  .max_chunk = 8}};
      EXPECT(let_through(crowd, seed).is_sound);
    }
  }
}

TEST(answers_under_way_come_before_prompts) {
  KvSpace space(blocks(100, 8));
  Scheduler scheduler({.max_sequences = 8, .max_step_tokens = 8, .max_wanted = 8}, space);
  Sequence talking = sequence_of(space, 0, 4, 20), coming = sequence_of(space, 1, 30, 5);
  Random random(1);
  scheduler.add(talking);
  compute(scheduler.plan({})[0], random);
  scheduler.add(coming);
  for (int i = 0; i < 3; ++i) {
    const auto plan = scheduler.plan({});
    EXPECT_EQ(plan.size(), 2u);
    EXPECT(plan[0].sequence == &talking && plan[0].n_rows == 1 && plan[0].n_wanted == 1);
    EXPECT(plan[1].sequence == &coming && plan[1].n_rows == 7 && plan[1].n_wanted == 0);
    for (const Work& work : plan) compute(work, random);
  }
}

TEST(the_first_to_come_is_the_first_to_enter) {
  KvSpace space(blocks(100, 64));
  Scheduler scheduler({.max_sequences = 1, .max_step_tokens = 64, .max_wanted = 8}, space);
  Sequence first = sequence_of(space, 0, 4, 4), second = sequence_of(space, 1, 4, 4);
  scheduler.add(second);
  scheduler.add(first);
  EXPECT(scheduler.plan({})[0].sequence == &first);
  EXPECT_EQ(scheduler.n_waiting(), 1);
}

TEST(a_higher_priority_takes_a_running_ones_place) {
  KvSpace space(blocks(100, 64));
  Scheduler scheduler({.max_sequences = 2, .max_step_tokens = 64, .max_wanted = 8}, space);
  Sequence old = sequence_of(space, 0, 4, 4), young = sequence_of(space, 1, 4, 4);
  Sequence urgent = sequence_of(space, 2, 4, 4, 1), patient = sequence_of(space, 3, 4, 4, -1);
  scheduler.add(old);
  scheduler.add(young);
  scheduler.plan({});
  scheduler.add(urgent);
  scheduler.add(patient);
  scheduler.plan({});
  EXPECT(old.is_running && urgent.is_running && !young.is_running && !patient.is_running);
  EXPECT_EQ(scheduler.preempted().size(), 1u);
}

TEST(the_oldest_of_equals_keeps_its_blocks) {
  KvSpace space(blocks(8, 64));
  Scheduler scheduler({.max_sequences = 4, .max_step_tokens = 64, .max_wanted = 8}, space);
  Sequence old = sequence_of(space, 0, 8, 20), young = sequence_of(space, 1, 8, 20);
  Random random(1);
  scheduler.add(old);
  scheduler.add(young);
  while (!old.generation.is_full()) {
    for (const Work& work : scheduler.plan({})) compute(work, random);
    EXPECT(old.is_running);
  }
  scheduler.remove(old);
  while (!young.generation.is_full()) {
    const auto plan = scheduler.plan({});
    EXPECT(!plan.empty());
    if (plan.empty()) break;
    compute(plan[0], random);
  }
}

TEST(guesses_are_not_worth_anybodys_blocks) {
  KvSpace space(blocks(2, 64));
  Scheduler scheduler({.max_sequences = 4, .max_step_tokens = 64, .max_wanted = 8}, space);
  Sequence one = sequence_of(space, 0, 4, 20);
  Random random(1);
  scheduler.add(one);
  compute(scheduler.plan({})[0], random);
  EXPECT(one.kv.reserve(one.n_computed, one.n_tokens()));
  one.draft = {9, 9, 9, 9, 9};  // would need a third block
  const auto plan = scheduler.plan({});
  EXPECT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan[0].n_rows, 1);
  EXPECT(one.draft.empty() && one.is_running);
}

TEST(guesses_end_where_the_sequence_must_end) {
  KvSpace space(blocks(100, 64));
  Scheduler scheduler({.max_sequences = 4, .max_step_tokens = 64, .max_wanted = 8}, space);
  Sequence one = sequence_of(space, 0, 4, 3);
  Random random(1);
  scheduler.add(one);
  compute(scheduler.plan({})[0], random);
  one.draft = {9, 9, 9, 9, 9};
  scheduler.plan({});
  EXPECT_EQ(one.n_drafted(), 2);
}

TEST(guesses_stay_within_the_budget) {
  KvSpace space(blocks(100, 64));
  Scheduler scheduler({.max_sequences = 4, .max_step_tokens = 64, .max_wanted = 3}, space);
  Sequence one = sequence_of(space, 0, 4, 20);
  Random random(1);
  scheduler.add(one);
  compute(scheduler.plan({})[0], random);
  one.draft = {9, 9, 9, 9, 9};
  const auto plan = scheduler.plan({});
  EXPECT_EQ(plan[0].n_rows, 3);
  EXPECT_EQ(plan[0].n_wanted, 3);
  EXPECT_EQ(one.n_drafted(), 2);
}

TEST(bulk_work_waits_for_company_but_not_forever) {
  using std::chrono::milliseconds;
  KvSpace space(blocks(100, 64));
  Scheduler scheduler(
      {.max_sequences = 2, .max_step_tokens = 64, .max_wanted = 8, .max_wait = milliseconds(50)},
      space);
  const Clock::time_point start{};
  Sequence one = sequence_of(space, 0, 4, 4), other = sequence_of(space, 1, 4, 4);
  scheduler.add(one);
  EXPECT(scheduler.plan(start + milliseconds(49)).empty());
  EXPECT(scheduler.next_start() == start + milliseconds(50));
  EXPECT_EQ(scheduler.plan(start + milliseconds(50)).size(), 1u);
  scheduler.remove(one);
  Sequence again = sequence_of(space, 2, 4, 4);
  scheduler.add(again);
  scheduler.add(other);
  EXPECT_EQ(scheduler.plan(start).size(), 2u);
}
