// Long computations that Ctrl-C can stop. On the main thread the work runs on a thread of its own
// while the caller looks for signals every few milliseconds; on other threads, which get no
// signals, it runs in place. Either way the GIL is free meanwhile.
#pragma once

#include <atomic>
#include <functional>

namespace realm::bindings {

// Calls work(cancel). When a signal handler raises, sets `cancel`, waits for the work to end and
// raises that exception instead of the work's. Called with the GIL held.
void run_interruptibly(const std::function<void(const std::atomic<bool>& cancel)>& work);
// The same with a flag of the caller's, which others may raise too.
void run_interruptibly(std::atomic<bool>& cancel,
                       const std::function<void(const std::atomic<bool>& cancel)>& work);

}  // namespace realm::bindings
