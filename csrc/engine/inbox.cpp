#include "engine/inbox.h"

#include <utility>

#include "base/error.h"

namespace realm {

void Inbox::post(std::shared_ptr<Request> request) {
  changed_.owner().require();
  const std::lock_guard lock(mutex_);
  if (closed_) fail(ErrorCode::kInvalidRequest, *closed_);
  if (arrived_.size() == arrived_.capacity()) arrived_.reserve(2 * arrived_.size() + 8);
  admit(*request);
  arrived_.push_back(std::move(request));
  ++n_live_;
  has_news_ = true;
  changed_->notify_one();
}

// Counts what is refused.
void Inbox::admit(const Request& request) try {
  Flow* const flow = request.flow();
  if (flow && flow->is_closed()) fail(ErrorCode::kInvalidRequest, "the flow is closed");
  if (n_live_ >= max_live_) {
    if (flow) flow->note_refused();
    throw Error(
        {"max_queue", max_live_, n_live_ + 1},
        concat("the engine has ", n_live_,
               " requests that run or wait; max_sequences and max_queue allow ", max_live_));
  }
  const auto n_prompt = static_cast<int64_t>(request.options().prompt.size());
  if (flow) flow->enter(request.claim(), n_prompt, Clock::now());
} catch (const Error& error) {
  n_refused_ += error.code() == ErrorCode::kQuotaExceeded;
  throw;
}

void Inbox::on_cancel(const Request& request) {
  const std::lock_guard lock(mutex_);
  std::erase(wanted_, &request);
  stop_unwanted_step();
}

void Inbox::close_flow(Flow& flow) {
  const std::lock_guard lock(mutex_);
  flow.close();
  std::erase_if(wanted_, [&](const Request* request) { return request->flow() == &flow; });
  stop_unwanted_step();
}

// The engine's thread is to look who has been cancelled.
void Inbox::stop_unwanted_step() {
  if (in_step_ && wanted_.empty()) abandon_.store(true);
  has_news_ = true;
  changed_->notify_one();
}

void Inbox::close(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (!closed_) closed_ = why;
  if (in_step_) abandon_.store(true);
  has_news_ = true;
  changed_->notify_one();
}

bool Inbox::is_closed() const {
  const std::lock_guard lock(mutex_);
  return closed_.has_value();
}

int64_t Inbox::n_live() const {
  const std::lock_guard lock(mutex_);
  return n_live_;
}

uint64_t Inbox::n_refused() const {
  const std::lock_guard lock(mutex_);
  return n_refused_;
}

std::vector<std::shared_ptr<Request>> Inbox::take(std::optional<Clock::time_point> deadline) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return has_news_; };
  if (deadline) {
    changed_->wait_until(lock, *deadline, ready);
  } else {
    changed_->wait(lock, ready);
  }
  has_news_ = false;
  return std::exchange(arrived_, {});
}

const std::atomic<bool>& Inbox::begin_step(std::span<const Request* const> requests) {
  const std::lock_guard lock(mutex_);
  wanted_.clear();
  for (const Request* request : requests) {
    if (!request->is_cancelled()) wanted_.push_back(request);
  }
  in_step_ = true;
  abandon_.store(wanted_.empty() || closed_);
  return abandon_;
}

void Inbox::end_step() {
  const std::lock_guard lock(mutex_);
  in_step_ = false;
  wanted_.clear();  // who is done with may be gone before the next step
  abandon_.store(false);
}

void Inbox::release(const Request& request, int64_t n_used) {
  if (Flow* const flow = request.flow()) flow->leave(request.claim(), n_used, Clock::now());
  const std::lock_guard lock(mutex_);
  --n_live_;
}

}  // namespace realm
