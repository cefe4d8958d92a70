#include "engine/session.h"

#include <algorithm>
#include <utility>

#include "base/counter_rng.h"
#include "base/error.h"
#include "engine/validate_params.h"

namespace realm {

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
        model_,
        SoloOptions{.kv_type = options_.kv_type, .max_tokens = capacity_for(tokens.size())});
  }
  const auto before = this->tokens();
  std::vector<int32_t> input(before.end() - (waits_ ? 1 : 0), before.end());
  input.insert(input.end(), tokens.begin(), tokens.end());
  compute(input, cancel);
  std::vector<int32_t> context(before.begin(), before.end());
  context.insert(context.end(), tokens.begin(), tokens.end());
  generation_.emplace(model_->vocabulary(), options_.params, seed_, std::move(context),
                      sequence_->capacity());
  waits_ = false;
  logprobs_.reset();
  state_ = SessionState::kGenerating;
}

void Session::compute(std::span<const int32_t> tokens, const std::atomic<bool>* cancel) {
  logits_.resize(static_cast<size_t>(model_->config().n_vocab));
  sequence_->append(tokens, 1, logits_.data(), cancel);
}

std::optional<int32_t> Session::next_token(const std::atomic<bool>* cancel) {
  if (state_ != SessionState::kGenerating) return std::nullopt;
  if (generation_->is_full()) {
    generation_->end(FinishReason::kLength);
    state_ = SessionState::kStopped;
    return std::nullopt;
  }
  if (waits_) {
    compute({&tokens().back(), 1}, cancel);
    waits_ = false;
  }
  const int32_t token = generation_->draw(logits_, drawing_);
  logprobs_ = generation_->logprobs_of(logits_, token, drawing_);
  waits_ = generation_->take(token);
  if (generation_->finish()) state_ = SessionState::kComplete;
  return waits_ ? std::optional(token) : std::nullopt;
}

std::string Session::take_text() {
  return generation_ ? generation_->take_text() : std::string();
}

void Session::reset() {
  sequence_.reset();
  generation_.reset();
  waits_ = false;
  logprobs_.reset();
  state_ = SessionState::kReady;
}

}  // namespace realm
