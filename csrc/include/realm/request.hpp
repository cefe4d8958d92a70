// A request and its answer. The answer comes on the runtime's own thread, whether or not anybody
// waits for it; nothing calls back.
//
//   realm::Request request = tenant.submit(prompt);
//   while (const auto piece = request.next()) std::cout << piece->bytes;
//
// Part of realm.hpp. C++17. One thread takes the answer; any may cancel or ask for a report
// meanwhile. A request that goes out of scope is cancelled.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "realm/options.hpp"

namespace realm {

enum class RequestState : int32_t {
  waiting = REALM_REQUEST_WAITING,
  running = REALM_REQUEST_RUNNING,
  finished = REALM_REQUEST_FINISHED,
};

// Why an answer ended.
enum class Finish : int32_t {
  none = REALM_FINISH_NONE,  // it has not
  stop = REALM_FINISH_STOP,  // an end-of-generation token, a stop token or a stop string
  length = REALM_FINISH_LENGTH,
  cancelled = REALM_FINISH_CANCELLED,
  deadline = REALM_FINISH_DEADLINE,
  error = REALM_FINISH_ERROR,
};

// What became of a request so far. Times count from its submission; 0 if not yet.
struct RequestReport {
  RequestState state = RequestState::waiting;
  Finish finish = Finish::none;
  int status = REALM_OK;              // with Finish::error, which one
  std::optional<int32_t> stop_token;  // what ended the answer
  std::optional<size_t> stop_index;   // of SamplingParams::stop
  uint64_t seed = 0;                  // gives the same answer again
  std::optional<int64_t> logprobs;    // alternatives that are reported for each token
  int64_t n_prompt = 0, n_generated = 0;
  int64_t n_cached = 0;     // tokens of the prompt that the cache had
  int64_t n_preempted = 0;  // times it gave way to others
  std::chrono::nanoseconds started{0}, first_token{0}, finished{0};
  int64_t drafted = 0, accepted = 0, verifications = 0;  // guesses; those that stood; forwards
};

// Part of an answer: what has come since the piece before.
struct Piece {
  std::vector<int32_t> tokens;
  std::string bytes;
};

// A whole answer.
struct Answer {
  std::vector<int32_t> tokens;
  std::string bytes;
  RequestReport report;
};

// A token and its log-probability; the most likely ones first, where there are several.
struct TokenLogprob {
  int32_t token;
  float logprob;
};

// Handed out by Tenant::submit(). Move-only; the handle may outlive its tenant and its runtime, and
// the answer has then ended.
class Request {
 public:
  // Takes what has come since the last call; perhaps nothing. Bytes are whole characters, and text
  // that could begin a stop string is held back until it is known.
  Piece take() {
    Piece piece;
    std::vector<int32_t> tokens(256);
    std::string bytes(4096, '\0');
    bool more = true;
    while (more) {
      size_t n_tokens = 0, n_bytes = 0;
      int32_t ended = 0;
      detail::check(realm_request_take(handle_.get(), tokens.data(), tokens.size(), &n_tokens,
                                       bytes.data(), bytes.size(), &n_bytes, &ended));
      piece.tokens.insert(piece.tokens.end(), tokens.data(), tokens.data() + n_tokens);
      piece.bytes.append(bytes, 0, n_bytes);
      more = n_tokens == tokens.size() || n_bytes == bytes.size();
      ended_ = ended != 0;
    }
    return piece;
  }

  // Waits for a piece; none when the answer has ended and all of it was taken. Throws what the
  // answer failed with, after its last piece.
  std::optional<Piece> next() {
    while (!ended_) {
      wait();
      Piece piece = take();
      if (!piece.tokens.empty() || !piece.bytes.empty()) return piece;
    }
    throw_failure();
    return std::nullopt;
  }

  // Waits for the end, and takes what is left of the answer. Throws what it failed with.
  Answer answer() {
    Answer answer;
    while (const auto piece = next()) {
      answer.tokens.insert(answer.tokens.end(), piece->tokens.begin(), piece->tokens.end());
      answer.bytes += piece->bytes;
    }
    answer.report = report();
    return answer;
  }

  // Waits until there is something to take, or the answer has ended.
  void wait() { detail::check(realm_request_wait(handle_.get(), -1, nullptr)); }
  // The same, so long at most; false if nothing came.
  bool wait_for(std::chrono::milliseconds timeout) {
    int32_t ready = 0;
    const int64_t ms = timeout.count() > 0 ? timeout.count() : 0;
    detail::check(realm_request_wait(handle_.get(), ms, &ready));
    return ready != 0;
  }

  // Takes the log-probabilities that SamplingParams::logprobs asked for: for each token that came
  // since the last call its own, then those of the most likely tokens. Empty if none were asked
  // for.
  std::vector<std::vector<TokenLogprob>> take_logprobs() {
    std::vector<std::vector<TokenLogprob>> taken;
    const auto n_top = report().logprobs;
    if (!n_top) return taken;
    std::vector<realm_token_logprob> records(static_cast<size_t>(1 + *n_top));
    for (size_t n = 0;;) {
      detail::check(realm_request_take_logprobs(handle_.get(), records.data(), records.size(), &n));
      if (n == 0) return taken;
      auto& of_token = taken.emplace_back();
      for (const auto& one : records) {
        if (one.token != REALM_NONE) of_token.push_back({one.token, one.logprob});
      }
    }
  }

  // Ends the answer within one step of the engine, with Finish::cancelled and what it has. No
  // effect on an answer that has ended.
  void cancel() { detail::check(realm_request_cancel(handle_.get())); }

  RequestReport report() const {
    realm_request_report r{};
    r.struct_size = sizeof r;
    detail::check(realm_request_describe(handle_.get(), &r));
    RequestReport report;
    report.state = static_cast<RequestState>(r.state);
    report.finish = static_cast<Finish>(r.finish);
    report.status = r.status;
    if (r.stop_token != REALM_NONE) report.stop_token = r.stop_token;
    if (r.stop_index != REALM_NONE) report.stop_index = static_cast<size_t>(r.stop_index);
    report.seed = r.seed;
    if (r.logprobs != REALM_NONE) report.logprobs = r.logprobs;
    report.n_prompt = r.n_prompt;
    report.n_generated = r.n_generated;
    report.n_cached = r.n_cached;
    report.n_preempted = r.n_preempted;
    report.started = std::chrono::nanoseconds(r.started_ns);
    report.first_token = std::chrono::nanoseconds(r.first_token_ns);
    report.finished = std::chrono::nanoseconds(r.finished_ns);
    report.drafted = r.drafted;
    report.accepted = r.accepted;
    report.verifications = r.verifications;
    return report;
  }

  // "off", "on", or "on: " or "failed: " and why nothing is guessed.
  std::string speculation_status() const {
    return detail::text_of([this](char* buffer, size_t capacity, size_t* length) {
      return realm_request_speculation(handle_.get(), buffer, capacity, length);
    });
  }

 private:
  friend class Tenant;
  explicit Request(realm_request* handle) : handle_(handle) {}

  void throw_failure() const {
    const RequestReport now = report();
    if (now.finish != Finish::error) return;
    throw Error(now.status, detail::text_of([this](char* buffer, size_t capacity, size_t* length) {
                  return realm_request_error(handle_.get(), buffer, capacity, length);
                }));
  }

  detail::Handle<realm_request, realm_request_free> handle_;
  bool ended_ = false;
};

}  // namespace realm
