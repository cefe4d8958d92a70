#include "engine/session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/counter_rng.h"
#include "base/error.h"
#include "engine/speculative/judge.h"
#include "engine/speculative/model_drafter.h"
#include "engine/speculative/ngram.h"
#include "engine/speculative/validate_config.h"
#include "engine/validate_params.h"

namespace realm {

namespace {

void validate_speculation(const SessionOptions& options, const Model& target) {
  validate(*options.speculative);
  const DrafterKind kind = options.speculative->drafter;
  REALM_CHECK(kind != DrafterKind::kModel || options.draft.was_wanted(),
              "speculative asks for a draft model, and this session has none");
  REALM_CHECK((kind == DrafterKind::kCustom) == (options.drafter != nullptr),
              "a drafter of one's own goes with drafter=custom, and only with it");
  check_pair(options.draft, target);
}

// Null, and why, if there is none.
std::shared_ptr<Drafter> make_drafter(const SessionOptions& options, const Model& target,
                                      int64_t capacity, std::string& why_none) try {
  if (options.speculative->drafter == DrafterKind::kCustom) return options.drafter;
  if (options.speculative->drafter == DrafterKind::kNgram) return std::make_shared<NgramDrafter>();
  const std::shared_ptr<Model>& draft = options.draft.model;
  why_none = options.draft.failure;
  if (!draft) return nullptr;
  const int64_t page = draft->backend().kv_page_tokens();
  const int64_t n_pages = (capacity + kMaxDraftTokens + page - 1) / page;
  ModelDrafterOptions drafter;
  drafter.kv_type = options.kv_type;
  drafter.pages = {n_pages, n_pages};
  drafter.max_requests = 1;
  drafter.max_rows = 256;
  drafter.target_vocab = target.config().n_vocab;
  return std::make_shared<ModelDrafter>(draft, drafter);
} catch (const std::exception& error) {
  why_none = concat("the draft model's cache could not be made: ", error.what());
  return nullptr;
}

}  // namespace

Session::Session(std::shared_ptr<Model> model, SessionOptions options)
    : model_(std::move(model)),
      options_(std::move(options)),
      seed_(options_.params.seed ? *options_.params.seed : fresh_seed()) {
  validate(options_.params, model_->config().n_vocab);
  REALM_CHECK(options_.params.stop.empty() || model_->vocabulary(),
              "stop strings need a model with a vocabulary");
  REALM_CHECK(options_.max_context >= 0 && options_.max_context <= model_->config().n_ctx,
              "max_context is ", options_.max_context, "; this model's context is ",
              model_->config().n_ctx);
  if (options_.speculative) validate_speculation(options_, *model_);
}

int64_t Session::capacity_for(size_t n_prompt) const {
  if (options_.max_context > 0) return options_.max_context;
  return planned_length(static_cast<int64_t>(n_prompt), options_.params.max_tokens,
                        model_->config().n_ctx);
}

std::span<const int32_t> Session::tokens() const {
  return generation_ ? generation_->tokens() : std::span<const int32_t>();
}

std::optional<size_t> Session::stop_index() const {
  return generation_ ? generation_->stop_index() : std::nullopt;
}

void Session::prefill(std::span<const int32_t> tokens, const std::atomic<bool>* cancel) {
  REALM_CHECK(!tokens.empty(), "the prompt has no tokens");
  if (!sequence_) {
    sequence_ = std::make_unique<SoloSequence>(
        model_, SoloOptions{.kv_type = options_.kv_type,
                            .max_tokens = capacity_for(tokens.size()),
                            .adapters = options_.adapters});
    begin_speculation();
  }
  end_verification();
  const auto before = this->tokens();
  std::vector<int32_t> input(before.end() - (waits_ ? 1 : 0), before.end());
  input.insert(input.end(), tokens.begin(), tokens.end());
  compute(input, 1, cancel);
  std::vector<int32_t> context(before.begin(), before.end());
  context.insert(context.end(), tokens.begin(), tokens.end());
  generation_.emplace(model_->vocabulary(), options_.params, seed_, std::move(context),
                      sequence_->capacity());
  waits_ = false;
  logprobs_.reset();
  state_ = SessionState::kGenerating;
}

void Session::begin_speculation() {
  if (!options_.speculative) return;
  std::string why_none;
  auto drafter = make_drafter(options_, *model_, sequence_->capacity(), why_none);
  speculation_.emplace(*options_.speculative, std::move(drafter), why_none,
                       model_->config().n_vocab);
}

SpeculationReport Session::speculation() const {
  return speculation_ ? speculation_->report() : SpeculationReport();
}

void Session::compute(std::span<const int32_t> tokens, int64_t n_wanted,
                      const std::atomic<bool>* cancel) {
  logits_.resize(static_cast<size_t>(n_wanted * model_->config().n_vocab));
  sequence_->append(tokens, n_wanted, logits_.data(), cancel);
  row_ = 0;
}

// Runs the token that waits, and guesses after it.
void Session::advance(const std::atomic<bool>* cancel) {
  std::vector<int32_t> input = {tokens().back()};
  if (speculation_) {
    const int64_t by_budget = options_.params.max_tokens - generation_->n_generated() - 1;
    const int64_t by_length = sequence_->capacity() - sequence_->length() - 1;
    const auto guesses =
        speculation_->guess(*generation_, std::min(by_budget, by_length), sequence_->capacity());
    input.insert(input.end(), guesses.begin(), guesses.end());
  }
  const auto begin = std::chrono::steady_clock::now();
  compute(input, std::ssize(input), cancel);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
  if (speculation_) speculation_->note_forward(spent.count());
  waits_ = false;
}

std::span<const float> Session::row() const {
  const auto n = static_cast<size_t>(model_->config().n_vocab);
  return std::span(logits_).subspan(row_ * n, n);
}

Verdict Session::judge_next() {
  const DraftedToken* drafted = speculation_ ? speculation_->drafted(row_) : nullptr;
  const auto method = speculation_ ? speculation_->config().method : SpeculativeMethod::kCoupled;
  return judge({{row(), generation_->params(), generation_->history()}, seed_, tokens().size()},
               drafted, method, drawing_.sampler);
}

// Forgets the rows of guesses that do not stand.
void Session::end_verification() {
  if (!speculation_ || !generation_) return;
  const auto n_accepted = static_cast<int64_t>(row_);
  speculation_->settle(n_accepted, n_accepted + (waits_ ? 1 : 0));
  sequence_->truncate(std::ssize(tokens()) - (waits_ ? 1 : 0));
}

std::optional<int32_t> Session::next_token(const std::atomic<bool>* cancel) {
  if (state_ != SessionState::kGenerating) return std::nullopt;
  if (generation_->is_full()) {
    generation_->end(FinishReason::kLength);
    state_ = SessionState::kStopped;
    return std::nullopt;
  }
  if (waits_) advance(cancel);
  const Verdict verdict = judge_next();
  logprobs_ = generation_->logprobs_of(row(), verdict.token, drawing_);
  const bool is_part = generation_->take(verdict.token);
  waits_ = is_part && !verdict.is_draft;
  if (is_part && verdict.is_draft) ++row_;
  if (generation_->finish()) state_ = SessionState::kComplete;
  if (waits_ || generation_->finish()) end_verification();
  return is_part ? std::optional(verdict.token) : std::nullopt;
}

std::string Session::take_text() {
  return generation_ ? generation_->take_text() : std::string();
}

void Session::reset() {
  sequence_.reset();
  speculation_.reset();
  generation_.reset();
  waits_ = false;
  logprobs_.reset();
  state_ = SessionState::kReady;
}

}  // namespace realm
