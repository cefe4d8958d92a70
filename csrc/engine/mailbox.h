// Where an event loop learns that requests have news: a descriptor that is readable while there is
// any, and the list of who has. Each loop has a mailbox of its own and gives it with the requests
// that it serves. take() and the engine's post() may be called from any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "base/process.h"
#include "base/wake_fd.h"

namespace realm {

class Request;

class Mailbox {
 public:
  // Throws kIo when the process has no descriptors left.
  Mailbox() = default;
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Readable while some request has news.
  int fd() const { return wake_.fd(); }

  // The requests with news since the last call, each once; take their pieces then. May name a
  // request whose news was taken in the meantime. Throws kForked in a child process.
  std::vector<std::shared_ptr<Request>> take();

  // For the engine: `request` has news. Needs no memory. In a child process does nothing.
  void post(std::shared_ptr<Request> request) noexcept;

 private:
  const OwnerProcess owner_;
  WakeFd wake_;
  std::mutex mutex_;
  // A chain through the requests themselves, the first to have news first.
  std::shared_ptr<Request> first_;
  Request* last_ = nullptr;
  size_t count_ = 0;
};

}  // namespace realm
