// Where an event loop learns that requests have news: a descriptor that is readable while there is
// any, and the list of who has. Each loop has a mailbox of its own and gives it with the requests
// that it serves. take() and the engine's post() may be called from any thread.
#pragma once

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

  // Readable while some request has news.
  int fd() const { return wake_.fd(); }

  // The requests with news since the last call, each once; take their pieces then. May name a
  // request whose news was taken in the meantime. Throws kForked in a child process.
  std::vector<std::shared_ptr<Request>> take();

  // For the engine: `request` has news. In a child process does nothing.
  void post(std::shared_ptr<Request> request);

 private:
  const OwnerProcess owner_;
  WakeFd wake_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Request>> news_;
};

}  // namespace realm
