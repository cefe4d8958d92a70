// An object with a mark of who is in it: a second caller, from another thread or from a signal
// handler, is refused before it touches anything.
#pragma once

#include <atomic>
#include <utility>

#include "base/error.h"

namespace realm::bindings {

template <class Object>
class OneAtATime {
 public:
  // `what` names the object in the refusal.
  template <class... Args>
  explicit OneAtATime(const char* what, Args&&... args)
      : what_(what), object_(std::forward<Args>(args)...) {}

  // Calls use(object) alone.
  template <class Use>
  auto alone(Use use) {
    REALM_CHECK(!busy_.test_and_set(), "this ", what_,
                " is in use by another call; each thread needs its own");
    const Leave leave{busy_};
    return use(object_);
  }

 private:
  struct Leave {
    std::atomic_flag& busy;
    ~Leave() { busy.clear(); }
  };

  const char* const what_;
  Object object_;
  std::atomic_flag busy_;
};

}  // namespace realm::bindings
