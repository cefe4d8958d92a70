// How many tokens are guessed, on simulated costs; the options; and which models make a pair.
#include <cmath>
#include <random>

#include "cpp/harness.h"
#include "engine/speculative/cost_curve.h"
#include "engine/speculative/draft_length.h"
#include "engine/speculative/validate_config.h"

using namespace realm;
using namespace realm::test;

namespace {

// A target whose step takes 1 plus `per_row` for each further row, and a draft of relative cost
// `draft`.
StepOutlook outlook(double per_row, double draft, int64_t n_rows = 1) {
  StepOutlook step;
  step.n_rows = step.n_tokens = n_rows;
  step.verify_seconds = [=](int64_t rows) { return 1 + per_row * static_cast<double>(rows - 1); };
  step.draft_seconds = [=](int64_t requests) {
    return draft * (1 + 0.1 * static_cast<double>(requests - 1));
  };
  return step;
}

double speed(double acceptance, int64_t k, const StepOutlook& step) {
  return expected_tokens(acceptance, k) /
         (step.verify_seconds(1 + k) + static_cast<double>(k) * step.draft_seconds(1));
}

int64_t best_of_all(double acceptance, int64_t limit, const StepOutlook& step) {
  int64_t best = 0;
  for (int64_t k = 1; k <= limit; ++k) {
    if (speed(acceptance, k, step) > speed(acceptance, best, step) * (1 + 1e-12)) best = k;
  }
  return best;
}

int64_t planned(double acceptance, const StepOutlook& step, int64_t limit = 8) {
  const DraftCandidate candidate{acceptance, limit};
  return plan_draft_lengths({&candidate, 1}, step).at(0);
}

SpeculativeConfig config_with(void (*change)(SpeculativeConfig&)) {
  SpeculativeConfig config;
  change(config);
  return config;
}

}  // namespace

TEST(the_length_for_one_sequence_is_the_best_of_all) {
  for (const double acceptance : {0.0, 0.1, 0.3, 0.5, 0.6, 0.8, 0.9, 0.97, 1.0}) {
    for (const double per_row : {0.0, 0.02, 0.1, 0.3, 1.0}) {
      for (const double draft : {0.0, 0.04, 0.15, 0.3, 0.9}) {
        const StepOutlook step = outlook(per_row, draft);
        EXPECT_EQ(planned(acceptance, step), best_of_all(acceptance, 8, step));
      }
    }
  }
}

TEST(a_hopeless_draft_or_a_costly_one_is_not_asked) {
  EXPECT_EQ(planned(0.02, outlook(0.02, 0.05)), 0);
  EXPECT_EQ(planned(0.9, outlook(0.02, 1.5)), 0);
  EXPECT_EQ(planned(0.9, outlook(1.5, 0.05)), 0);
  EXPECT(planned(0.9, outlook(0.02, 0.05)) >= 5);
}

TEST(many_sequences_guess_less_than_one) {
  // Rows are free up to 16, as a kernel's tile is, and then cost what they are worth.
  StepOutlook step = outlook(0, 0.02);
  step.verify_seconds = [](int64_t rows) {
    return rows <= 16 ? 1.0 : static_cast<double>(rows) / 16;
  };
  EXPECT(planned(0.8, step) >= 5);
  const std::vector<DraftCandidate> eight(8, {0.8, 8});
  step.n_rows = step.n_tokens = 8;
  int64_t sum = 0;
  for (const int64_t k : plan_draft_lengths(eight, step)) sum += k;
  EXPECT_EQ(sum, 8);
  step.n_rows = step.n_tokens = 16;
  const std::vector<DraftCandidate> sixteen(16, {0.8, 8});
  for (const int64_t k : plan_draft_lengths(sixteen, step)) EXPECT_EQ(k, 0);
}

TEST(the_likelier_request_guesses_more) {
  const std::vector<DraftCandidate> two = {{0.3, 8}, {0.9, 8}};
  StepOutlook step = outlook(0.08, 0.05);
  step.n_rows = step.n_tokens = 2;
  const std::vector<int64_t> lengths = plan_draft_lengths(two, step);
  EXPECT(lengths[1] > lengths[0]);
}

TEST(limits_of_requests_are_kept) {
  const std::vector<DraftCandidate> some = {{1.0, 0}, {1.0, 1}, {1.0, 8}};
  const std::vector<int64_t> lengths = plan_draft_lengths(some, outlook(0.01, 0.01, 3));
  EXPECT(lengths == (std::vector<int64_t>{0, 1, 8}));
  EXPECT(plan_draft_lengths({}, outlook(0.01, 0.01)).empty());
  StepOutlook narrow = outlook(0.01, 0.01, 3);
  narrow.max_guesses = 3;
  EXPECT(plan_draft_lengths(some, narrow) == (std::vector<int64_t>{0, 1, 2}));
}

TEST(nothing_is_guessed_while_nothing_is_known) {
  StepOutlook step = outlook(0, 0);
  step.verify_seconds = [](int64_t) { return 0.0; };
  EXPECT_EQ(planned(0.9, step), 0);
}

TEST(acceptance_follows_a_request_that_changes) {
  AcceptanceEstimate estimate;
  EXPECT(near(estimate.value(), AcceptanceEstimate::kPrior, 1e-12));
  std::mt19937 generator(1);
  for (const double acceptance : {0.9, 0.1, 0.6}) {
    for (int i = 0; i < 400; ++i) {
      int64_t n = 0;
      while (n < 4 && std::uniform_real_distribution()(generator) < acceptance) ++n;
      estimate.record(4, n);
    }
    EXPECT(near(estimate.value(), acceptance, 0.15));
  }
}

TEST(a_drafter_that_never_guesses_right_is_given_up_within_ten_verifications) {
  AcceptanceEstimate estimate;
  int n = 0;
  while (n < 10 && planned(estimate.value(), outlook(0.03, 0.13)) > 0) {
    estimate.record(4, 0);
    ++n;
  }
  EXPECT(n < 10);
  EXPECT(n >= 2);
}

TEST(a_request_that_gave_up_tries_again_ever_more_rarely) {
  ProbeSchedule probes;
  std::vector<int> at;
  for (int i = 1; i <= 5000; ++i) {
    if (probes.tick()) at.push_back(i);
  }
  EXPECT(at == (std::vector<int>{32, 96, 224, 480, 992, 2016, 3040, 4064}));
  probes.reset();
  int n = 1;
  while (!probes.tick()) ++n;
  EXPECT_EQ(n, 32);
}

TEST(costs_are_interpolated_between_widths_that_ran) {
  CostCurve curve;
  EXPECT_EQ(curve.seconds(5), 0.0);
  curve.record(1, 1.0);
  EXPECT_EQ(curve.seconds(1), 1.0);
  EXPECT_EQ(curve.seconds(9), 1.0);
  curve.record(5, 1.4);
  EXPECT(near(curve.seconds(3), 1.2, 1e-12));
  EXPECT(near(curve.seconds(15), 2.4, 1e-12));
  EXPECT(curve.knows(5) && !curve.knows(4));
  curve.record(100, 4.0);
  curve.record(1000000, 40.0);
  EXPECT(near(curve.seconds(100), 4.0, 1e-12));
  curve.record(3, 0.0);
  EXPECT(!curve.knows(3));
}

TEST(a_stall_does_not_spoil_a_cost) {
  CostCurve curve;
  for (int i = 0; i < 20; ++i) curve.record(1, i % 4 == 3 ? 30.0 : 1.0);
  EXPECT_EQ(curve.seconds(1), 1.0);
  // A change that stays is followed.
  for (int i = 0; i < 8; ++i) curve.record(1, 2.0);
  EXPECT_EQ(curve.seconds(1), 2.0);
}

TEST(wider_steps_are_never_predicted_to_be_faster) {
  CostCurve curve;
  std::mt19937 generator(3);
  for (int i = 0; i < 500; ++i) {
    const int64_t rows = 1 + static_cast<int64_t>(generator() % 40);
    curve.record(rows, (1 + 0.05 * static_cast<double>(rows)) *
                           std::uniform_real_distribution(0.8, 1.6)(generator));
  }
  for (int64_t rows = 1; rows < 64; ++rows) {
    EXPECT(curve.seconds(rows) <= curve.seconds(rows + 1) + 1e-15);
    if (rows <= 40)
      EXPECT(near(curve.seconds(rows) / (1 + 0.05 * static_cast<double>(rows)), 1.1, 0.3));
  }
}

TEST(options_have_the_documented_defaults_and_nonsense_is_refused) {
  const SpeculativeConfig defaults;
  validate(defaults);
  EXPECT_EQ(defaults.draft_k, 4);
  EXPECT_EQ(defaults.max_draft_tokens, 8);
  EXPECT(defaults.adaptive && defaults.method == SpeculativeMethod::kCoupled);
  struct Case {
    const char* field;
    const char* value;
    void (*change)(SpeculativeConfig&);
  };
  const Case cases[] = {
      {"max_draft_tokens", "is 0", [](auto& c) { c.max_draft_tokens = 0; }},
      {"max_draft_tokens", "is 17", [](auto& c) { c.max_draft_tokens = 17; }},
      {"draft_k", "is -1", [](auto& c) { c.draft_k = -1; }},
      {"draft_k", "is 9", [](auto& c) { c.draft_k = 9; }},
      {"draft_k", "is 0", [](auto& c) { c.draft_k = 0, c.adaptive = false; }},
      {"draft_adapter", "'x'",
       [](auto& c) { c.draft_adapter = "x", c.drafter = DrafterKind::kNgram; }},
  };
  for (const Case& c : cases) {
    const std::string text = EXPECT_ERROR(kInvalidRequest, { validate(config_with(c.change)); });
    EXPECT(contains(text, c.field) && contains(text, c.value));
  }
}

TEST(models_without_vocabularies_pair_by_their_size) {
  ModelConfig target, draft;
  target.n_vocab = draft.n_vocab = 100;
  check_pair({target, nullptr}, {draft, nullptr});
  draft.n_vocab = 101;
  const std::string text =
      EXPECT_ERROR(kInvalidRequest, { check_pair({target, nullptr}, {draft, nullptr}); });
  EXPECT(contains(text, "100") && contains(text, "101"));
}
