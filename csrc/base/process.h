// Threads and locks do not survive fork: a child has only the thread that called it, and locks stay
// as they were. An object that holds either remembers its process and refuses to work in another
// one, before it touches them.
#pragma once

#include <unistd.h>

#include "base/error.h"

namespace realm {

class OwnerProcess {
 public:
  bool is_current() const { return ::getpid() == id_; }

  // Throws kForked in a child process.
  void require() const {
    if (is_current()) return;
    fail(ErrorCode::kForked,
         "this object belongs to the parent process; make a new one after fork");
  }

 private:
  const pid_t id_ = ::getpid();
};

}  // namespace realm
