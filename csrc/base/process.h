// Threads and locks do not survive fork: a child has only the thread that called it, and locks stay
// as they were. An object that holds either remembers its process and refuses to work in another
// one, before it touches them.
#pragma once

#include <memory>
#include <utility>

#include "base/error.h"
#include "base/system.h"

namespace realm {

class OwnerProcess {
 public:
  bool is_current() const { return process_id() == id_; }

  // Throws kForked in a child process.
  void require() const {
    if (is_current()) return;
    fail(ErrorCode::kForked,
         "this object belongs to the parent process; make a new one after fork");
  }

 private:
  const int64_t id_ = process_id();
};

// Something that a child process must not even destroy, such as a condition variable on which a
// thread of the parent waits: there it is left as it lies.
template <class T>
class LeftToOwner {
 public:
  template <class... Arguments>
  explicit LeftToOwner(Arguments&&... arguments)
      : object_(std::make_unique<T>(std::forward<Arguments>(arguments)...)) {}
  ~LeftToOwner() {
    if (!owner_.is_current()) object_.release();
  }
  LeftToOwner(const LeftToOwner&) = delete;
  LeftToOwner& operator=(const LeftToOwner&) = delete;

  T* operator->() const { return object_.get(); }
  T& operator*() const { return *object_; }
  const OwnerProcess& owner() const { return owner_; }

 private:
  const OwnerProcess owner_;
  std::unique_ptr<T> object_;
};

}  // namespace realm
