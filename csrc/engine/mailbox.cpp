#include "engine/mailbox.h"

#include <utility>

#include "engine/request.h"

namespace realm {

Mailbox::~Mailbox() {
  while (first_) first_ = std::exchange(first_->next_in_mailbox_, nullptr);  // one by one
}

std::vector<std::shared_ptr<Request>> Mailbox::take() {
  owner_.require();
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Request>> news;
  news.reserve(count_);
  wake_.clear();
  while (first_) {
    auto next = std::exchange(first_->next_in_mailbox_, nullptr);
    // Before anybody takes a piece: what is emitted from now on is posted again.
    first_->in_mailbox_.store(false);
    news.push_back(std::exchange(first_, std::move(next)));
  }
  last_ = nullptr;
  count_ = 0;
  return news;
}

void Mailbox::post(std::shared_ptr<Request> request) noexcept {
  if (!owner_.is_current() || request->in_mailbox_.exchange(true)) return;
  const std::lock_guard lock(mutex_);
  Request* const added = request.get();
  (last_ ? last_->next_in_mailbox_ : first_) = std::move(request);
  last_ = added;
  if (++count_ == 1) wake_.signal();
}

}  // namespace realm
