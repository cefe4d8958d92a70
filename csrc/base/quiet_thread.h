// A thread that takes no part in the signals of the embedding program.
#pragma once

#include <functional>
#include <thread>

namespace realm {

// Starts `body` on a thread that signals pass by, but for those that say what the thread itself
// did; on Windows, which has none, on any thread. Throws std::system_error if no thread can be had.
std::thread start_quiet_thread(std::function<void()> body);

}  // namespace realm
