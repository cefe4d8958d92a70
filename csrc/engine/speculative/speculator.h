// Speculation as the engine's loop sees it: before a step, decoding requests get guesses; after it,
// drafters hear which of them stand. It decides how many are worth while from what steps and
// drafters have cost, and keeps the record that requests report. Whatever goes wrong in a drafter,
// the request concerned goes on plainly and its status says why.
//
// The engine's thread alone.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/speculative/speculation.h"

namespace realm {

struct SpeculatorLimits {
  int64_t max_wanted = 0;  // rows of a step that can have logits
  int64_t n_vocab = 0;     // of the target
};

class Speculator {
 public:
  // Over all requests so far.
  struct Totals {
    uint64_t drafted = 0, accepted = 0, verifications = 0;
    double draft_seconds = 0;
  };

  // The drafter of kModel; null if there is none, and why.
  Speculator(std::shared_ptr<Drafter> model, std::string why_no_model,
             const SpeculatorLimits& limits);

  // What a new request of these options needs; null for plain ones.
  std::unique_ptr<Speculation> begin(const RequestOptions& options);

  // Gives guesses to those of the running sequences that want some.
  void draft(std::span<Sequence* const> running);

  // The forward over `work` took `seconds`; its guesses are still there.
  void note_forward(std::span<const Work> work, double seconds);
  // With the judging of its rows, the step took `seconds` in all.
  void note_step(double seconds) { verify_costs_.record(n_step_rows_, seconds); }
  // Of the sequence's n_drafted guesses n_accepted stand, and it got n_tokens in all.
  void settle(Sequence& sequence, int64_t n_drafted, int64_t n_accepted, int64_t n_tokens);
  // The sequence has ended.
  void forget(Sequence& sequence);

  const Totals& totals() const { return totals_; }

 private:
  // A request that may get guesses in this step.
  struct Member {
    Sequence* sequence;
    int64_t limit;         // guesses that make sense
    int64_t n_wanted = 0;  // guesses it gets
  };
  using Members = std::vector<Member>;

  std::shared_ptr<DrafterRecord> record_of(const RequestOptions& options);
  void choose_lengths(DrafterRecord& record, Members& members);
  void choose_adaptive(DrafterRecord& record, std::span<Member*> members);
  void choose(Member& member, int64_t planned);
  void propose(DrafterRecord& record, const Members& members);
  void take(Sequence& sequence, Draft& draft, int64_t n_wanted);
  void check(Draft& draft, int64_t n_wanted) const;
  void give_up(Sequence& sequence, const std::string& why);

  const std::shared_ptr<DrafterRecord> model_;
  const std::string why_no_model_;
  const SpeculatorLimits limits_;
  const std::shared_ptr<DrafterRecord> ngram_;
  std::map<const Drafter*, std::weak_ptr<DrafterRecord>> custom_;
  CostCurve verify_costs_;
  int64_t n_step_rows_ = 0;  // of the last forward
  uint64_t n_steps_ = 0, plain_step_ = 0;
  Totals totals_;

  // Of the step in the making.
  int64_t n_rows_ = 0, n_tokens_ = 0;
  int64_t n_guesses_left_ = 0;
  bool has_prompt_rows_ = false;
};

}  // namespace realm
