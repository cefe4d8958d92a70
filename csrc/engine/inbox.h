// What other threads leave for an engine's thread: new requests, the wish to cancel one, the wish
// to stop. It outlives the engine as long as requests refer to it. Locks are held for moments,
// never through a computation.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/process.h"
#include "engine/request.h"

namespace realm {

class Inbox {
 public:
  // At most `max_live` requests at once that have not ended.
  explicit Inbox(int64_t max_live) : max_live_(max_live) {}

  // Throws kQuotaExceeded above the limit or one of its flow, kInvalidRequest when it or the flow
  // is closed.
  void post(std::shared_ptr<Request> request);
  // `request` has its mark of cancellation: if a step runs for nobody else any more, it is
  // abandoned.
  void on_cancel(const Request& request);
  // No more requests of this flow; those that are there are cancelled.
  void close_flow(Flow& flow);
  // No more requests; the step that runs is abandoned. `why` is what later callers are told.
  void close(const std::string& why);
  bool is_closed() const;
  int64_t n_live() const;
  uint64_t n_refused() const;

  // ---- for the engine's thread
  // Waits until there is something new, or until `deadline`; takes the new requests.
  std::vector<std::shared_ptr<Request>> take(std::optional<Clock::time_point> deadline);
  // A step for these requests begins; raise() of the result asks to give it up.
  const std::atomic<bool>& begin_step(std::span<const Request* const> requests);
  void end_step();
  // A request has ended after n_used tokens of prompt and answer: it no longer counts.
  void release(const Request& request, int64_t n_used);

 private:
  void admit(const Request& request);
  void stop_unwanted_step();

  const int64_t max_live_;
  LeftToOwner<std::condition_variable> changed_;
  mutable std::mutex mutex_;
  bool has_news_ = false;
  std::optional<std::string> closed_;
  int64_t n_live_ = 0;
  uint64_t n_refused_ = 0;
  std::vector<std::shared_ptr<Request>> arrived_;
  std::vector<const Request*> wanted_;  // requests of the present step that still want it
  bool in_step_ = false;
  std::atomic<bool> abandon_{false};
};

}  // namespace realm
