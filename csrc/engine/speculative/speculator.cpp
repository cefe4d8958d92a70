#include "engine/speculative/speculator.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "engine/speculative/ngram.h"

namespace realm {

namespace {

// A plain step once in so many, so that what it costs stays known.
constexpr uint64_t kPlainInterval = 256;

std::shared_ptr<DrafterRecord> make_record(std::shared_ptr<Drafter> drafter) {
  if (!drafter) return nullptr;
  auto record = std::make_shared<DrafterRecord>();
  record->drafter = std::move(drafter);
  return record;
}

// Beyond these a guess could not become part of the answer, or its row not be computed.
int64_t limit_of(const Sequence& sequence) {
  const Generation& generation = sequence.generation;
  const int64_t by_budget = generation.params().max_tokens - generation.n_generated() - 1;
  const int64_t by_length = sequence.max_length - sequence.n_tokens();
  const int64_t limit =
      std::min({by_budget, by_length, sequence.speculation->config.max_draft_tokens});
  return std::max<int64_t>(limit, 0);
}

}  // namespace

Speculator::Speculator(std::shared_ptr<Drafter> model, std::string why_no_model,
                       const SpeculatorLimits& limits)
    : model_(make_record(std::move(model))),
      why_no_model_(std::move(why_no_model)),
      limits_(limits),
      ngram_(make_record(std::make_shared<NgramDrafter>())) {}

std::shared_ptr<DrafterRecord> Speculator::record_of(const RequestOptions& options) {
  switch (options.speculative->drafter) {
    case DrafterKind::kModel:
      return model_;
    case DrafterKind::kNgram:
      return ngram_;
    case DrafterKind::kCustom:
      break;
  }
  std::erase_if(custom_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<DrafterRecord>& known = custom_[options.drafter.get()];
  std::shared_ptr<DrafterRecord> record = known.lock();
  if (!record) known = record = make_record(options.drafter);
  return record;
}

std::unique_ptr<Speculation> Speculator::begin(const RequestOptions& options) {
  if (!options.speculative) return nullptr;
  auto speculation = std::make_unique<Speculation>();
  speculation->config = *options.speculative;
  speculation->record = record_of(options);
  if (speculation->record) {
    speculation->acceptance = AcceptanceEstimate(speculation->record->acceptance.value());
    speculation->report.status = "on: nothing guessed yet";
  } else {
    speculation->report.status = concat("failed: ", why_no_model_);
  }
  return speculation;
}

void Speculator::draft(std::span<Sequence* const> running) {
  n_rows_ = n_tokens_ = 0;
  has_prompt_rows_ = false;
  std::map<std::shared_ptr<DrafterRecord>, Members> members;
  for (Sequence* sequence : running) {
    sequence->draft.clear();
    n_rows_ += sequence->n_pending();
    n_tokens_ += sequence->is_decoding() ? 1 : 0;
    has_prompt_rows_ |= !sequence->is_decoding();
    if (!sequence->is_decoding() || !sequence->speculation || !sequence->speculation->record) {
      continue;
    }
    members[sequence->speculation->record].push_back({sequence, limit_of(*sequence)});
  }
  ++n_steps_;
  n_guesses_left_ = std::max<int64_t>(0, limits_.max_wanted - std::ssize(running));
  for (auto& [record, group] : members) {
    choose_lengths(*record, group);
    propose(*record, group);
  }
}

// Those whose length does not depend on costs first; the others are planned around them.
void Speculator::choose_lengths(DrafterRecord& record, Members& members) {
  const bool costs_are_known = verify_costs_.knows(n_rows_) && record.costs.seconds(1) > 0;
  std::vector<Member*> adaptive;
  for (Member& member : members) {
    const Speculation& speculation = *member.sequence->speculation;
    // A first length of its own is for an engine that knows no costs yet.
    const bool is_first = speculation.report.k_history.empty() && !costs_are_known;
    if (speculation.config.adaptive && !is_first) {
      adaptive.push_back(&member);
    } else {
      choose(member, speculation.config.draft_k);
    }
  }
  choose_adaptive(record, adaptive);
  for (const Member& member : members) n_rows_ += member.n_wanted;
}

void Speculator::choose_adaptive(DrafterRecord& record, std::span<Member*> members) {
  if (members.empty()) return;
  // What guesses save is only known beside a step without any.
  const bool is_stale = n_steps_ - plain_step_ >= kPlainInterval || !verify_costs_.knows(n_rows_);
  std::vector<int64_t> lengths(members.size(), 0);
  if (has_prompt_rows_ || !is_stale) {
    std::vector<DraftCandidate> candidates;
    for (const Member* member : members) {
      candidates.push_back({member->sequence->speculation->acceptance.value(), member->limit});
    }
    lengths = plan_draft_lengths(
        candidates, {.n_rows = n_rows_,
                     .n_tokens = n_tokens_,
                     .max_guesses = n_guesses_left_,
                     .verify_seconds = [this](int64_t rows) { return verify_costs_.seconds(rows); },
                     .draft_seconds = [&](int64_t n) { return record.costs.seconds(n); }});
  }
  for (size_t i = 0; i < members.size(); ++i) choose(*members[i], lengths[i]);
}

void Speculator::choose(Member& member, int64_t planned) {
  const int64_t limit = std::min(member.limit, n_guesses_left_);
  member.n_wanted = member.sequence->speculation->choose_length(planned, limit);
  n_guesses_left_ -= member.n_wanted;
}

void Speculator::propose(DrafterRecord& record, const Members& members) {
  std::vector<DraftRequest> requests;
  std::vector<Sequence*> sequences;
  for (const Member& member : members) {
    if (member.n_wanted == 0) continue;
    const Sequence& s = *member.sequence;
    sequences.push_back(member.sequence);
    requests.push_back({s.request->id(), s.generation.tokens(), member.n_wanted,
                        s.speculation->config, s.generation.params(), s.generation.history(),
                        s.generation.seed(), s.max_length, s.request->options().space});
  }
  if (requests.empty()) return;
  std::vector<Draft> drafts(requests.size());
  const Clock::time_point begin = Clock::now();
  try {
    record.drafter->propose(requests, drafts);
  } catch (const std::exception& error) {
    for (Draft& draft : drafts) {
      draft = {};
      draft.failure = error.what();
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  totals_.draft_seconds += seconds;

  size_t depth = 0, n_drafted = 0;
  bool all_guessed = true;
  for (size_t i = 0; i < drafts.size(); ++i) {
    depth = std::max(depth, drafts[i].tokens.size());
    n_drafted += drafts[i].tokens.size();
    all_guessed &= !drafts[i].tokens.empty();
    sequences[i]->speculation->report.draft_seconds += seconds / static_cast<double>(drafts.size());
    take(*sequences[i], drafts[i], requests[i].n_wanted);
  }
  if (!all_guessed) return;  // some were read, which is another cost
  const size_t width = (n_drafted + depth - 1) / depth;
  record.costs.record(static_cast<int64_t>(width), seconds / static_cast<double>(depth));
}

void Speculator::take(Sequence& sequence, Draft& draft, int64_t n_wanted) {
  Speculation& speculation = *sequence.speculation;
  check(draft, n_wanted);
  if (!draft.failure.empty()) return give_up(sequence, draft.failure);
  speculation.waits_for_verdict = true;
  if (draft.tokens.empty()) {
    speculation.report.status = concat("on: ", draft.delay);
    return;
  }
  speculation.report.status = "on";
  speculation.is_probing = false;
  sequence.draft = std::move(draft.tokens);
  speculation.laws = std::move(draft.laws);
}

// Drafters of the embedding program are judged too.
void Speculator::check(Draft& draft, int64_t n_wanted) const {
  if (std::ssize(draft.tokens) > n_wanted) draft.tokens.resize(static_cast<size_t>(n_wanted));
  if (!draft.laws.empty()) draft.laws.resize(draft.tokens.size());
  for (const Distribution& law : draft.laws) {
    if (!law.tokens.empty() && law.tokens.size() == law.probabilities.size()) continue;
    draft.failure = "the drafter did not say what its guesses were drawn from";
    return;
  }
  for (const int32_t token : draft.tokens) {
    if (token >= 0 && token < limits_.n_vocab) continue;
    draft.failure = concat("the drafter guessed token ", token,
                           ", which is not in the vocabulary of ", limits_.n_vocab);
    return;
  }
}

void Speculator::give_up(Sequence& sequence, const std::string& why) {
  Speculation& speculation = *sequence.speculation;
  speculation.report.status = concat("failed: ", why);
  speculation.record->drafter->forget(sequence.request->id());
  speculation.record.reset();
}

void Speculator::note_forward(std::span<const Work> work, double seconds) {
  int64_t n_drafted = 0;
  n_step_rows_ = 0;
  for (const Work& one : work) {
    n_step_rows_ += one.n_rows;
    n_drafted += one.sequence->n_drafted();
  }
  if (n_drafted == 0) plain_step_ = n_steps_;
  for (const Work& one : work) {
    if (one.sequence->draft.empty()) continue;
    one.sequence->speculation->report.verify_seconds +=
        seconds * static_cast<double>(one.n_rows) / static_cast<double>(n_step_rows_);
  }
}

void Speculator::settle(Sequence& sequence, int64_t n_drafted, int64_t n_accepted,
                        int64_t n_tokens) {
  if (!sequence.speculation || !sequence.speculation->record) return;
  Speculation& speculation = *sequence.speculation;
  if (n_drafted > 0) {
    const int64_t n_judged = speculation.record_verdict(n_drafted, n_accepted, n_tokens);
    speculation.record->acceptance.record(n_judged, n_accepted);
    ++totals_.verifications;
    totals_.drafted += static_cast<uint64_t>(n_drafted);
    totals_.accepted += static_cast<uint64_t>(n_accepted);
  }
  if (!speculation.waits_for_verdict) return;
  speculation.waits_for_verdict = false;
  speculation.record->drafter->settle(sequence.request->id(), static_cast<size_t>(n_accepted));
}

void Speculator::forget(Sequence& sequence) {
  if (!sequence.speculation || !sequence.speculation->record) return;
  sequence.speculation->record->drafter->forget(sequence.request->id());
  sequence.speculation->record.reset();
}

}  // namespace realm
