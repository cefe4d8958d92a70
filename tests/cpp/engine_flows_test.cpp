// Fairness between flows, on the scheduler without a model: whoever asks for how much, each flow
// gets its part, keeps its limits, and every request ends.
#include <algorithm>
#include <array>
#include <list>
#include <map>
#include <numeric>
#include <vector>

#include "cpp/scheduler_world.h"

using namespace realm;
using namespace realm::test;

namespace {

// What one flow asks for: so many requests at a time, each of the same size.
struct Appetite {
  int64_t n_at_once = 1, n_prompt = 8, n_answer = 24;
  int64_t pause = 0;  // steps after an end in which nothing is asked
};

// Flows that always want more, each replacing what has ended by new requests.
class Market {
 public:
  Market(const SchedulerLimits& limits, const KvSpaceShape& shape)
      : space_(shape), scheduler_(limits, space_) {}

  FlowBook& open(double weight, const Appetite& appetite) {
    flows_.push_back({.book = {.weight = weight}, .appetite = appetite});
    return flows_.back().book;
  }
  void set(const FlowBook& book, const Appetite& appetite) { member(book).appetite = appetite; }
  uint64_t rows(const FlowBook& book) { return member(book).n_rows; }
  uint64_t ended(const FlowBook& book) { return member(book).n_ended; }
  // Steps that the flow's last request to start waited.
  int64_t last_wait(const FlowBook& book) { return member(book).last_wait; }
  // Rows that the engine computed from the step in which a request came to its first token.
  std::vector<int64_t>& first_token_rows(const FlowBook& book) { return member(book).first_rows; }
  int64_t n_preempted() const { return n_preempted_; }
  void forget() {
    n_preempted_ = 0;
    for (Member& one : flows_) one.first_rows.clear();
    for (Member& one : flows_) one.n_rows = one.n_ended = 0;
  }

  void run(int64_t n_steps) {
    for (int64_t i = 0; i < n_steps; ++i) step();
  }

  void step() {
    ++now_;
    for (Member& one : flows_) {
      if (now_ < one.next_at) continue;
      while (std::ssize(one.sequences) < one.appetite.n_at_once) submit(one);
    }
    const auto plan = scheduler_.plan({});
    n_preempted_ += std::ssize(scheduler_.preempted());
    for (const Work& work : plan) n_rows_ += work.n_rows;
    for (Sequence* sequence : scheduler_.admitted()) {
      if (sequence->generation.n_generated() == 0) {
        member(*sequence->flow).last_wait = now_ - arrived_[sequence->order];
      }
    }
    for (const Work& work : plan) {
      member(*work.sequence->flow).n_rows += static_cast<uint64_t>(work.n_rows);
      const bool is_silent = work.sequence->generation.n_generated() == 0;
      compute(work, random_);
      if (!is_silent || work.sequence->generation.n_generated() == 0) continue;
      const int64_t rows = n_rows_ - rows_before_[work.sequence->order];
      member(*work.sequence->flow).first_rows.push_back(rows);
    }
    last_rows_ = 0;
    for (const Work& work : plan) last_rows_ += work.n_rows;
    for (Member& one : flows_) end_full(one);
  }

 private:
  struct Member {
    FlowBook book;
    Appetite appetite;
    std::list<Sequence> sequences{};
    uint64_t n_rows = 0, n_ended = 0;
    std::vector<int64_t> first_rows{};
    int64_t last_wait = 0, next_at = 0;
  };

  Member& member(const FlowBook& book) {
    return *std::ranges::find_if(flows_, [&](const Member& m) { return &m.book == &book; });
  }

  void submit(Member& one) {
    const Appetite& a = one.appetite;
    arrived_[order_] = now_;
    rows_before_[order_] = n_rows_ - last_rows_;  // it came when the last step had just begun
    one.sequences.push_back(sequence_of(space_, order_++, a.n_prompt, a.n_answer, 0, &one.book));
    scheduler_.add(one.sequences.back());
  }

  void end_full(Member& one) {
    std::erase_if(one.sequences, [&](Sequence& sequence) {
      if (!sequence.generation.is_full()) return false;
      scheduler_.remove(sequence);
      ++one.n_ended;
      one.next_at = now_ + 1 + one.appetite.pause;
      return true;
    });
  }

  KvSpace space_;
  std::list<Member> flows_;
  Scheduler scheduler_;
  Random random_{7};
  std::map<uint64_t, int64_t> arrived_, rows_before_;
  int64_t n_rows_ = 0, last_rows_ = 0;
  uint64_t order_ = 0;
  int64_t now_ = 0, n_preempted_ = 0;
};

double jain(const std::vector<double>& shares) {
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  double squares = 0;
  for (const double share : shares) squares += share * share;
  return sum * sum / (static_cast<double>(shares.size()) * squares);
}

SchedulerLimits places(int64_t n, int64_t budget = 64) {
  return {.max_sequences = n, .max_step_tokens = budget, .max_wanted = 64};
}

}  // namespace

TEST(jains_index_is_one_for_equals_and_one_nth_for_a_monopoly) {
  EXPECT(near(jain({3, 3, 3, 3}), 1, 1e-12));
  EXPECT(near(jain({8, 0, 0, 0}), 0.25, 1e-12));
}

TEST(a_flood_gets_no_more_than_those_who_send_one_at_a_time) {
  Market market(places(8), blocks(1000, 64));
  std::vector<FlowBook*> flows{&market.open(1, {.n_at_once = 200})};
  for (int i = 0; i < 7; ++i) flows.push_back(&market.open(1, {}));
  market.run(50);
  market.forget();
  market.run(3000);
  std::vector<double> shares;
  for (const FlowBook* flow : flows) shares.push_back(static_cast<double>(market.rows(*flow)));
  EXPECT(jain(shares) > 0.97);
}

TEST(a_flood_hardly_delays_a_first_token) {
  constexpr int64_t kPrompt = 128;  // alone, these rows are what comes before the first token
  KvSpaceShape shape = blocks(4000, 512);
  shape.keep_prefixes = false;
  Market market(places(8, 512), shape);
  const Appetite one_at_a_time{.n_at_once = 1, .n_prompt = kPrompt, .n_answer = 24, .pause = 2};
  market.open(1, {.n_at_once = 200, .n_prompt = kPrompt, .n_answer = 24});
  std::vector<FlowBook*> victims;
  for (int i = 0; i < 7; ++i) {
    victims.push_back(&market.open(1, one_at_a_time));
    market.run(3);  // they do not come together
  }
  market.run(50);
  market.forget();
  market.run(2000);
  std::vector<int64_t> rows;
  for (const FlowBook* victim : victims) {
    const auto& own = market.first_token_rows(*victim);
    rows.insert(rows.end(), own.begin(), own.end());
  }
  EXPECT(rows.size() > 400);
  std::ranges::sort(rows);
  EXPECT(rows[rows.size() / 2] < 3 * kPrompt);
  EXPECT(rows.back() < 3 * kPrompt);
}

TEST(a_request_takes_a_place_from_a_flood_in_the_step_it_comes) {
  Market market(places(8), blocks(1000, 64));
  market.open(1, {.n_at_once = 200});
  FlowBook& victim = market.open(1, {.n_at_once = 0});
  market.run(100);
  for (int i = 0; i < 20; ++i) {
    market.set(victim, {.n_at_once = 1});
    market.run(7);
    EXPECT_EQ(market.last_wait(victim), 0);
    EXPECT_EQ(victim.n_running(), 1);
  }
}

TEST(a_prompt_comes_before_the_long_prompts_of_a_flood) {
  Market market(places(8, 16), blocks(4000, 16));
  FlowBook& flood = market.open(1, {.n_at_once = 50, .n_prompt = 1000, .n_answer = 2});
  FlowBook& victim = market.open(1, {.n_at_once = 0});
  market.run(200);
  market.set(victim, {.n_at_once = 1, .n_prompt = 12, .n_answer = 4});
  market.run(6);
  EXPECT_EQ(market.ended(victim), 1u);
  EXPECT(flood.n_running() >= 1);
}

TEST(shares_follow_the_weights) {
  for (const int64_t n_places : {2, 5, 7, 16}) {
    Market market(places(n_places), blocks(1000, 64));
    const std::array<double, 3> weights{1, 2, 4};
    std::vector<FlowBook*> flows;
    for (const double weight : weights) flows.push_back(&market.open(weight, {.n_at_once = 40}));
    market.run(100);
    market.forget();
    market.run(6000);
    std::vector<double> parts;
    for (size_t i = 0; i < flows.size(); ++i) {
      parts.push_back(static_cast<double>(market.rows(*flows[i])) / weights[i]);
    }
    EXPECT(jain(parts) > 0.98);
  }
}

TEST(shares_are_counted_in_tokens_and_not_in_requests) {
  Market market(places(4), blocks(1000, 64));
  FlowBook& reader = market.open(1, {.n_at_once = 40, .n_prompt = 50, .n_answer = 2});
  FlowBook& writer = market.open(1, {.n_at_once = 40, .n_prompt = 2, .n_answer = 50});
  market.run(200);
  market.forget();
  market.run(6000);
  // Twenty prompts fit into the time of one answer; by requests the reader would have most rows.
  const double part = static_cast<double>(market.rows(reader)) /
                      static_cast<double>(market.rows(reader) + market.rows(writer));
  EXPECT(part > 0.4 && part < 0.6);
}

TEST(a_flow_that_was_idle_has_no_credit_and_one_that_had_all_no_debt) {
  Market market(places(4), blocks(1000, 64));
  FlowBook& early = market.open(1, {.n_at_once = 40});
  FlowBook& late = market.open(1, {.n_at_once = 0});
  market.run(5000);
  market.set(late, {.n_at_once = 40});
  market.forget();
  market.run(200);
  const double first = static_cast<double>(market.rows(early));
  const double second = static_cast<double>(market.rows(late));
  EXPECT(jain({first, second}) > 0.98);
}

TEST(a_flow_that_asked_for_little_has_no_credit_when_it_asks_for_much) {
  Market market(places(8), blocks(1000, 64));
  FlowBook& flood = market.open(1, {.n_at_once = 40});
  FlowBook& modest = market.open(1, {.n_at_once = 1});
  market.run(5000);
  EXPECT(market.rows(flood) > 4 * market.rows(modest));
  market.set(modest, {.n_at_once = 40});
  market.forget();
  market.run(300);
  EXPECT(jain({static_cast<double>(market.rows(flood)), static_cast<double>(market.rows(modest))}) >
         0.97);
}

TEST(places_are_not_taken_back_and_forth) {
  Market market(places(7), blocks(1000, 64));
  for (const double weight : {1.0, 1.0, 3.0}) market.open(weight, {.n_at_once = 30});
  market.run(200);
  market.forget();
  market.run(2000);
  EXPECT(market.n_preempted() < 100);  // of about 450 requests
}

TEST(a_flood_of_large_requests_does_not_keep_all_blocks) {
  Market market(places(8), blocks(100, 64));
  FlowBook& flood = market.open(1, {.n_at_once = 20, .n_prompt = 60, .n_answer = 30});
  FlowBook& victim = market.open(1, {.n_at_once = 0});
  market.run(300);
  EXPECT(flood.n_blocks > 60);
  market.set(victim, {.n_at_once = 1, .n_prompt = 60, .n_answer = 4});
  market.run(8);
  EXPECT(market.ended(victim) >= 1);
}

TEST(a_request_above_everybodys_share_still_ends) {
  Market market(places(8), blocks(100, 64));
  FlowBook& giant = market.open(1, {.n_at_once = 1, .n_prompt = 300, .n_answer = 90});
  for (int i = 0; i < 6; ++i) market.open(1, {.n_at_once = 20, .n_prompt = 30, .n_answer = 30});
  market.run(4000);
  EXPECT(market.ended(giant) >= 3);
}

TEST(a_flow_above_its_limit_of_requests_holds_up_nobody) {
  Market market(places(8), blocks(1000, 64));
  FlowBook& limited = market.open(1, {.n_at_once = 50});
  limited.max_running = 2;
  FlowBook& other = market.open(1, {.n_at_once = 50});
  for (int i = 0; i < 500; ++i) {
    market.step();
    EXPECT(limited.n_running() <= 2);
  }
  EXPECT_EQ(other.n_running(), 6);
}

TEST(a_flow_at_its_limit_of_blocks_puts_out_its_own) {
  Market market(places(8), blocks(1000, 64));
  FlowBook& limited = market.open(1, {.n_at_once = 50, .n_prompt = 20, .n_answer = 60});
  limited.max_blocks = 45;  // one may need 20
  FlowBook& other = market.open(1, {.n_at_once = 4, .n_prompt = 8, .n_answer = 40});
  for (int i = 0; i < 1000; ++i) {
    market.step();
    EXPECT(limited.n_blocks <= 45);
  }
  EXPECT(market.ended(limited) > 10);
  EXPECT(market.ended(other) >= 4 * 1000 / 45);  // as fast as alone
}

TEST(priority_counts_within_a_flow_alone) {
  KvSpace space(blocks(100, 64));
  FlowBook boastful, modest;
  Scheduler scheduler(places(2), space);
  Sequence plain = sequence_of(space, 0, 4, 20, 0, &modest);
  Sequence loud = sequence_of(space, 1, 4, 20, 1000, &boastful);
  Sequence louder = sequence_of(space, 2, 4, 20, 2000, &boastful);
  for (Sequence* one : {&plain, &loud}) scheduler.add(*one);
  scheduler.plan({});
  scheduler.add(louder);
  scheduler.plan({});
  EXPECT(plain.is_running && louder.is_running && !loud.is_running);
}

namespace {

// A crowd of flows with weights and limits, over pools from generous to starving; a twin counts
// what each holds from its sequences alone.
bool crowd_keeps_every_limit(unsigned seed, int64_t budget, int64_t n_blocks, int64_t n_window,
                             int64_t& n_preempted) {
  Random random(seed);
  KvSpaceShape shape = blocks(n_blocks, budget);
  if (n_window > 0) {
    shape.window = 6;
    shape.n_window_blocks = n_window;
  }
  KvSpace space(shape);
  std::vector<FlowBook> flows(4);
  for (FlowBook& flow : flows) {
    flow.weight = static_cast<double>(between(random, 1, 4));
    if (between(random, 0, 1)) flow.max_running = between(random, 1, 4);
    if (between(random, 0, 1)) flow.max_blocks = between(random, space.blocks_for(60), 60);
  }
  std::list<Sequence> sequences;
  Scheduler scheduler({.max_sequences = 8, .max_step_tokens = budget, .max_wanted = 12}, space);
  uint64_t order = 0;
  for (int64_t n_steps = 0; order < 40 || !sequences.empty(); ++n_steps) {
    while (order < 40 && between(random, 0, 3) == 0) {
      FlowBook& flow = flows[static_cast<size_t>(between(random, 0, 3))];
      const int64_t n_prompt = between(random, 1, 59);
      sequences.push_back(sequence_of(space, order++, n_prompt, between(random, 1, 60 - n_prompt),
                                      static_cast<int32_t>(between(random, 0, 5) == 0), &flow));
      scheduler.add(sequences.back());
    }
    for (Sequence& one : sequences) {
      if (!one.is_running || !one.is_decoding() || between(random, 0, 1)) continue;
      const int64_t room = one.max_length - one.n_tokens();
      one.draft.assign(static_cast<size_t>(between(random, 0, std::min<int64_t>(3, room))), 9);
    }
    const auto plan = scheduler.plan({});
    n_preempted += std::ssize(scheduler.preempted());
    if ((plan.empty() && !sequences.empty()) || n_steps > 100'000) return false;
    int64_t rows = 0;
    for (const Work& work : plan) rows += work.n_rows;
    if (rows > budget || scheduler.n_running() > 8) return false;
    for (FlowBook& flow : flows) {
      int64_t running = 0, held = 0;
      for (const Sequence& one : sequences) {
        if (one.flow != &flow || !one.is_running) continue;
        ++running;
        held += std::ssize(one.kv.global_blocks());
        held += std::ranges::count_if(one.kv.window_blocks(),
                                      [](BlockId block) { return block != kNoBlock; });
      }
      if (running != flow.n_running() || running > flow.max_running) return false;
      if (held > flow.n_blocks || flow.n_blocks > flow.max_blocks) return false;
    }
    for (const Work& work : plan) compute(work, random);
    std::erase_if(sequences, [&](Sequence& one) {
      const bool is_done = one.generation.is_full() || between(random, 0, 200) == 0;
      if (is_done) scheduler.remove(one);
      return is_done;
    });
  }
  return space.n_used() == 0 && std::ranges::all_of(flows, &FlowBook::is_idle) &&
         std::ranges::all_of(flows, [](const FlowBook& flow) { return flow.n_blocks == 0; });
}

}  // namespace

TEST(crowds_of_flows_keep_every_limit_and_every_sequence_ends) {
  int64_t n_preempted = 0;
  for (unsigned seed = 0; seed < 40; ++seed) {
    for (const int64_t budget : {1, 5, 16, 200}) {
      for (const int64_t n_blocks : {15, 20, 40, 400}) {
        if (crowd_keeps_every_limit(seed, budget, n_blocks, 0, n_preempted)) continue;
        report_failure(__FILE__, __LINE__,
                       concat("seed ", seed, ", budget ", budget, ", blocks ", n_blocks));
      }
    }
    for (const int64_t n_window : {6, 9, 30}) {
      EXPECT(crowd_keeps_every_limit(seed, 8, 20, n_window, n_preempted));
    }
  }
  EXPECT(n_preempted > 1000);
}
