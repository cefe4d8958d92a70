// Giving up the GIL while the core computes, and taking it for a call back into Python.
//
// When the interpreter ends while a daemon thread is in here, taking the GIL ends that thread, up
// to Python 3.13 by unwinding its stack: through the core, and through destructors that free Python
// objects without the GIL, which crashes. Such a thread is stopped here instead, for good, as later
// Pythons do; the process ends all the same. pybind11's own guards do not do that.
#pragma once

#include <pybind11/pybind11.h>

namespace realm::bindings {

// Never returns.
[[noreturn]] void stop_this_thread() noexcept;

// The GIL is free in the scope of an Unlocked.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      stop_this_thread();
    }
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// The GIL is held in the scope of a Locked, on any thread.
class Locked {
 public:
  Locked() : state_(take()) {}
  ~Locked() { PyGILState_Release(state_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  static PyGILState_STATE take() noexcept {
    try {
      return PyGILState_Ensure();
    } catch (...) {
      stop_this_thread();
    }
  }

  PyGILState_STATE state_;
};

// Calls a Python function from a thread of ours, which may outlive the interpreter: it stops in
// there before it frees anything. Throws error_already_set.
pybind11::object call_python(const pybind11::object& function, const pybind11::tuple& arguments);

}  // namespace realm::bindings
