#include "engine/mailbox.h"

#include <utility>

#include "engine/request.h"

namespace realm {

std::vector<std::shared_ptr<Request>> Mailbox::take() {
  owner_.require();
  const std::lock_guard lock(mutex_);
  wake_.clear();
  // Before anybody takes a piece: what is emitted from now on is posted again.
  for (const auto& request : news_) request->in_mailbox_.store(false);
  return std::exchange(news_, {});
}

void Mailbox::post(std::shared_ptr<Request> request) {
  if (!owner_.is_current() || request->in_mailbox_.exchange(true)) return;
  const std::lock_guard lock(mutex_);
  news_.push_back(std::move(request));
  if (news_.size() == 1) wake_.signal();
}

}  // namespace realm
