#include "bindings/interruptible.h"

#include <chrono>
#include <future>
#include <pybind11/pybind11.h>

#include "bindings/gil.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

constexpr std::chrono::milliseconds kLook{20};

bool on_main_thread() {
  const py::module_ threading = py::module_::import("threading");
  return threading.attr("current_thread")().is(threading.attr("main_thread")());
}

// Waits for the work; true if a signal handler raised meanwhile (the Python error is then set).
bool wait_for(std::future<void>& done) {
  for (;;) {
    {
      const Unlocked unlocked;
      if (done.wait_for(kLook) == std::future_status::ready) return false;
    }
    if (PyErr_CheckSignals() != 0) return true;
  }
}

}  // namespace

void run_interruptibly(const std::function<void(const std::atomic<bool>& cancel)>& work) {
  std::atomic<bool> cancel{false};
  run_interruptibly(cancel, work);
}

void run_interruptibly(std::atomic<bool>& cancel,
                       const std::function<void(const std::atomic<bool>& cancel)>& work) {
  if (!on_main_thread()) {
    const Unlocked unlocked;
    return work(cancel);
  }
  std::future<void> done = std::async(std::launch::async, [&] { work(cancel); });
  if (!wait_for(done)) return done.get();
  const py::error_already_set raised;  // takes the pending error
  cancel = true;
  {
    const Unlocked unlocked;
    done.wait();
  }
  throw raised;
}

}  // namespace realm::bindings
