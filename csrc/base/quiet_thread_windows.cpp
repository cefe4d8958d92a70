#include <utility>

#include "base/quiet_thread.h"

namespace realm {

std::thread start_quiet_thread(std::function<void()> body) {
  return std::thread(std::move(body));
}

}  // namespace realm
