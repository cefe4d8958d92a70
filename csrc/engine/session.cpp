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
      seed_(options_.params.seed ? *options_.params.seed : fresh_seed()),
      stops_(options_.params.stop) {
  validate(options_.params, model_->config().n_vocab);
  REALM_CHECK(options_.params.stop.empty() || model_->vocabulary(),
              "stop strings need a model with a vocabulary");
  REALM_CHECK(options_.max_context >= 0 && options_.max_context <= model_->config().n_ctx,
              "max_context is ", options_.max_context, "; this model's context is ",
              model_->config().n_ctx);
}

int64_t Session::capacity_for(size_t n_prompt) const {
  if (options_.max_context > 0) return options_.max_context;
  const auto prompt = static_cast<int64_t>(n_prompt);
  return std::max(prompt, std::min(model_->config().n_ctx, prompt + options_.params.max_tokens));
}

void Session::prefill(std::span<const int32_t> tokens, const std::atomic<bool>* cancel) {
  REALM_CHECK(!tokens.empty(), "the prompt has no tokens");
  if (!sequence_) {
    sequence_ = std::make_unique<SoloSequence>(
        model_,
        SoloOptions{.kv_type = options_.kv_type, .max_tokens = capacity_for(tokens.size())});
  }
  std::vector<int32_t> input(tokens_.end() - (waits_ ? 1 : 0), tokens_.end());
  input.insert(input.end(), tokens.begin(), tokens.end());
  compute(input, cancel);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  waits_ = false;
  n_generated_ = 0;
  history_ = TokenHistory(tokens_);
  stops_ = StopMatcher(options_.params.stop);
  characters_ = {};
  text_.clear();
  logprobs_.reset();
  state_ = SessionState::kGenerating;
}

void Session::compute(std::span<const int32_t> tokens, const std::atomic<bool>* cancel) {
  logits_.resize(static_cast<size_t>(model_->config().n_vocab));
  sequence_->append(tokens, 1, logits_.data(), cancel);
}

std::optional<int32_t> Session::next_token(const std::atomic<bool>* cancel) {
  if (state_ != SessionState::kGenerating) return std::nullopt;
  const bool is_full = waits_ && sequence_->length() == sequence_->capacity();
  if (n_generated_ == options_.params.max_tokens || is_full) {
    end(SessionState::kStopped);
    return std::nullopt;
  }
  if (waits_) {
    compute({&tokens_.back(), 1}, cancel);
    waits_ = false;
  }
  const int32_t token = draw();
  if (ends(token)) {
    end(SessionState::kComplete);
    return std::nullopt;
  }
  accept(token);
  return token;
}

int32_t Session::draw() {
  const SampleRow row{logits_, options_.params, history_};
  const int32_t token = sampler_.sample(row, TokenNoise(seed_, tokens_.size()));
  if (options_.params.logprobs) {
    logprobs_.emplace();
    logprob_reader_.read(logits_, token, static_cast<size_t>(*options_.params.logprobs),
                         *logprobs_);
  }
  return token;
}

bool Session::ends(int32_t token) const {
  const auto& stop_ids = options_.params.stop_token_ids;
  if (std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end()) return true;
  return !options_.params.ignore_eos && model_->vocabulary() &&
         model_->vocabulary()->ends_generation(token);
}

void Session::accept(int32_t token) {
  tokens_.push_back(token);
  history_.push(token);
  waits_ = true;
  ++n_generated_;
  if (!model_->vocabulary()) return;
  std::string characters;
  characters_.push(model_->vocabulary()->bytes(token), characters);
  if (stops_.push(characters, text_)) state_ = SessionState::kComplete;
}

void Session::end(SessionState state) {
  state_ = state;
  std::string rest;
  characters_.finish(rest);
  stops_.push(rest, text_);
  stops_.finish(text_);
}

std::string Session::take_text() {
  return std::exchange(text_, {});
}

void Session::reset() {
  sequence_.reset();
  tokens_.clear();
  waits_ = false;
  n_generated_ = 0;
  history_ = {};
  logprobs_.reset();
  stops_ = StopMatcher(options_.params.stop);
  characters_ = {};
  text_.clear();
  state_ = SessionState::kReady;
}

}  // namespace realm
