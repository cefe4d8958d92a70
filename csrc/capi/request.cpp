#include "capi/request.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace realm::capi {

namespace {

// Longer than anybody waits, and short enough for every clock to count.
constexpr int64_t kForeverMs = 100'000'000'000;

}  // namespace

RequestHandle::~RequestHandle() {
  try {
    request_->cancel();
  } catch (const Error&) {
    // In a child process after fork: the request is the parent's.
  }
}

bool RequestHandle::wait(int64_t timeout_ms) {
  const bool is_forever = timeout_ms < 0 || timeout_ms > kForeverMs;
  const std::chrono::milliseconds timeout(is_forever ? kForeverMs : timeout_ms);
  {
    const std::lock_guard lock(mutex_);
    pull();
    if (ended_ || !tokens_.empty() || !bytes_.empty()) return true;
  }
  return request_->wait(timeout) || request_->state() == RequestState::kFinished;
}

void RequestHandle::wait_end() {
  while (!request_->wait_end(std::chrono::milliseconds(kForeverMs))) {
  }
}

RequestHandle::Taken RequestHandle::take(std::optional<std::span<int32_t>> tokens,
                                         std::optional<std::span<char>> bytes) {
  const std::lock_guard lock(mutex_);
  pull();
  if (!tokens) tokens_.clear();
  if (!bytes) bytes_.clear();
  Taken taken;
  if (tokens) {
    taken.n_tokens = std::min(tokens->size(), tokens_.size());
    const auto end = tokens_.begin() + static_cast<ptrdiff_t>(taken.n_tokens);
    std::copy(tokens_.begin(), end, tokens->begin());
    tokens_.erase(tokens_.begin(), end);
  }
  if (bytes) {
    taken.n_bytes = bytes_.copy(bytes->data(), bytes->size());
    bytes_.erase(0, taken.n_bytes);
  }
  taken.ended = ended_ && tokens_.empty() && bytes_.empty();
  return taken;
}

size_t RequestHandle::take_logprobs(std::span<realm_token_logprob> out) {
  const std::lock_guard lock(mutex_);
  pull();
  const auto& asked = request_->options().params.logprobs;
  REALM_CHECK(asked, "params.logprobs was REALM_NONE: this request reports none");
  const auto stride = static_cast<size_t>(1 + *asked);
  const size_t n = std::min(out.size(), logprobs_.size()) / stride * stride;
  const auto end = logprobs_.begin() + static_cast<ptrdiff_t>(n);
  std::copy(logprobs_.begin(), end, out.begin());
  logprobs_.erase(logprobs_.begin(), end);
  return n;
}

void RequestHandle::pull() {
  const Piece piece = request_->take();
  tokens_.insert(tokens_.end(), piece.tokens.begin(), piece.tokens.end());
  bytes_ += piece.text;
  if (!piece.logprobs.empty()) keep_logprobs(piece);
  if (piece.finish) ended_ = true;
}

void RequestHandle::keep_logprobs(const Piece& piece) {
  const auto n_top = static_cast<size_t>(*request_->options().params.logprobs);
  constexpr realm_token_logprob kMasked{-1, -std::numeric_limits<float>::infinity()};
  for (size_t i = 0; i < piece.logprobs.size(); ++i) {
    const Logprobs& of_one = piece.logprobs[i];
    logprobs_.push_back({piece.tokens[i], of_one.chosen});
    for (size_t k = 0; k < n_top; ++k) {
      const bool is_there = k < of_one.top.size();
      logprobs_.push_back(is_there ? realm_token_logprob{of_one.top[k].token, of_one.top[k].logprob}
                                   : kMasked);
    }
  }
}

}  // namespace realm::capi
