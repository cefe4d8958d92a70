// A request as a C caller holds it: what has come of the answer waits here until it fits the
// caller's buffers.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "engine/request.h"
#include "realm/realm.h"

namespace realm::capi {

class RequestHandle {
 public:
  explicit RequestHandle(std::shared_ptr<Request> request) : request_(std::move(request)) {}
  // Whoever lets go of a request does not want the rest of it.
  ~RequestHandle();
  RequestHandle(const RequestHandle&) = delete;
  RequestHandle& operator=(const RequestHandle&) = delete;

  Request& request() const { return *request_; }

  // Whether take() has something or the answer has ended, after at most `timeout_ms`; negative: no
  // limit.
  bool wait(int64_t timeout_ms);

  void wait_end();

  struct Taken {
    size_t n_tokens = 0, n_bytes = 0;
    bool ended = false;  // the answer has, and nothing of it is left
  };
  // Moves what fits. A room that is null takes all there is, to nowhere.
  Taken take(std::optional<std::span<int32_t>> tokens, std::optional<std::span<char>> bytes);
  // Moves whole records, each `1 + params.logprobs` long.
  size_t take_logprobs(std::span<realm_token_logprob> out);

 private:
  void pull();
  void keep_logprobs(const Piece& piece);

  const std::shared_ptr<Request> request_;
  std::mutex mutex_;
  std::deque<int32_t> tokens_;
  std::deque<realm_token_logprob> logprobs_;
  std::string bytes_;
  bool ended_ = false;
};

}  // namespace realm::capi
