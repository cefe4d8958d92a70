#include "bindings/gil.h"

#include <chrono>
#include <thread>

namespace realm::bindings {

void stop_this_thread() noexcept {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

}  // namespace realm::bindings
