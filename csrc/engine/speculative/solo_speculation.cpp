#include "engine/speculative/solo_speculation.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace realm {

SoloSpeculation::SoloSpeculation(const SpeculativeConfig& config, std::shared_ptr<Drafter> drafter,
                                 const std::string& why_none, int64_t n_vocab)
    : n_vocab_(n_vocab) {
  state_.config = config;
  state_.report.status = drafter ? "on: nothing guessed yet" : concat("failed: ", why_none);
  if (!drafter) return;
  state_.record = std::make_shared<DrafterRecord>();
  state_.record->drafter = std::move(drafter);
}

int64_t SoloSpeculation::planned_length(int64_t limit) const {
  if (!state_.config.adaptive || state_.report.k_history.empty()) return state_.config.draft_k;
  if (!verify_costs_.knows(1)) return 0;  // what guesses save shows beside a row without any
  const DraftCandidate candidate{state_.acceptance.value(), limit};
  StepOutlook outlook;
  outlook.n_rows = outlook.n_tokens = 1;
  outlook.verify_seconds = [this](int64_t rows) { return verify_costs_.seconds(rows); };
  outlook.draft_seconds = [this](int64_t n) { return state_.record->costs.seconds(n); };
  return plan_draft_lengths({&candidate, 1}, outlook).front();
}

std::span<const int32_t> SoloSpeculation::guess(const Generation& generation, int64_t limit,
                                                int64_t max_length) {
  guesses_.clear();
  if (!state_.record) return {};
  limit = std::clamp<int64_t>(limit, 0, state_.config.max_draft_tokens);
  const int64_t n_wanted = state_.choose_length(planned_length(limit), limit);
  if (n_wanted == 0) return {};
  const Namespace space{};
  const DraftRequest request{kId,
                             generation.tokens(),
                             n_wanted,
                             state_.config,
                             generation.params(),
                             generation.history(),
                             generation.seed(),
                             max_length,
                             space};
  Draft draft;
  const auto begin = std::chrono::steady_clock::now();
  try {
    state_.record->drafter->propose({&request, 1}, {&draft, 1});
  } catch (const std::exception& error) {
    draft.failure = error.what();
  }
  take(draft, n_wanted,
       std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  return guesses_;
}

void SoloSpeculation::take(Draft& draft, int64_t n_wanted, double seconds) {
  state_.report.draft_seconds += seconds;
  const auto is_known = [&](int32_t token) { return token >= 0 && token < n_vocab_; };
  if (!draft.failure.empty()) return fail(draft.failure);
  if (!std::ranges::all_of(draft.tokens, is_known)) {
    return fail(concat("the drafter guessed a token that is not in the vocabulary of ", n_vocab_));
  }
  if (draft.tokens.empty()) {
    state_.report.status = concat("on: ", draft.delay);
    return;
  }
  state_.report.status = "on";
  state_.is_probing = false;
  guesses_ = std::move(draft.tokens);
  if (std::ssize(guesses_) > n_wanted) guesses_.resize(static_cast<size_t>(n_wanted));
  state_.laws = std::move(draft.laws);
  state_.record->costs.record(1, seconds / static_cast<double>(guesses_.size()));
}

void SoloSpeculation::fail(const std::string& why) {
  state_.report.status = concat("failed: ", why);
  forget();
  state_.record.reset();
}

const DraftedToken* SoloSpeculation::drafted(size_t i) {
  if (i >= guesses_.size()) return nullptr;
  drafted_ = {guesses_[i], state_.laws.empty() ? nullptr : &state_.laws[i]};
  return &drafted_;
}

void SoloSpeculation::note_forward(double seconds) {
  verify_costs_.record(1 + std::ssize(guesses_), seconds);
  if (!guesses_.empty()) state_.report.verify_seconds += seconds;
}

void SoloSpeculation::settle(int64_t n_accepted, int64_t n_tokens) {
  if (guesses_.empty() || !state_.record) return;
  state_.record_verdict(std::ssize(guesses_), n_accepted, n_tokens);
  state_.record->drafter->settle(kId, static_cast<size_t>(n_accepted));
  guesses_.clear();
}

void SoloSpeculation::forget() {
  guesses_.clear();
  if (state_.record) state_.record->drafter->forget(kId);
}

}  // namespace realm
