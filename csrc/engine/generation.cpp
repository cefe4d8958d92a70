#include "engine/generation.h"

#include <algorithm>
#include <utility>

#include "base/counter_rng.h"

namespace realm {

const char* name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

int64_t planned_length(int64_t n_prompt, int64_t max_tokens, int64_t n_ctx) {
  return std::max(n_prompt, std::min(n_ctx, n_prompt + max_tokens));
}

Generation::Generation(std::shared_ptr<const Vocabulary> vocabulary, SamplingParams params,
                       uint64_t seed, std::vector<int32_t> context, int64_t capacity)
    : vocabulary_(std::move(vocabulary)),
      params_(std::move(params)),
      seed_(seed),
      n_context_(static_cast<int64_t>(context.size())),
      capacity_(capacity),
      tokens_(std::move(context)),
      history_(tokens_),
      stops_(params_.stop) {}

int32_t Generation::draw(std::span<const float> logits, Drawing& drawing) const {
  return drawing.sampler.sample({logits, params_, history_}, TokenNoise(seed_, tokens_.size()));
}

std::optional<Logprobs> Generation::logprobs_of(std::span<const float> logits, int32_t token,
                                                Drawing& drawing) const {
  if (!params_.logprobs) return std::nullopt;
  Logprobs logprobs;
  drawing.logprobs.read(logits, token, static_cast<size_t>(*params_.logprobs), logprobs);
  return logprobs;
}

bool Generation::ends(int32_t token) const {
  const auto& stop_ids = params_.stop_token_ids;
  if (std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end()) return true;
  return !params_.ignore_eos && vocabulary_ && vocabulary_->ends_generation(token);
}

bool Generation::take(int32_t token) {
  if (ends(token)) {
    end(FinishReason::kStop);
    finish_->stop_token = token;
    return false;
  }
  tokens_.push_back(token);
  history_.push(token);
  if (vocabulary_) add_text(token);
  return true;
}

void Generation::add_text(int32_t token) {
  std::string characters;
  characters_.push(vocabulary_->bytes(token), characters);
  if (!stops_.push(characters, text_)) return;
  finish_ = Finish{FinishReason::kStop, stops_.matched(), {}, {}};
}

bool Generation::is_full() const {
  return n_generated() >= params_.max_tokens || static_cast<int64_t>(tokens_.size()) > capacity_;
}

void Generation::end(FinishReason reason) {
  if (finish_) return;
  std::string rest;
  characters_.finish(rest);
  stops_.push(rest, text_);
  stops_.finish(text_);
  finish_ = Finish{reason, stops_.matched(), {}, {}};
}

std::string Generation::take_text() {
  return std::exchange(text_, {});
}

}  // namespace realm
