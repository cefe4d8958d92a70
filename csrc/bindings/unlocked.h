// Lets other Python threads run while the core computes: the GIL is free in the scope of an
// Unlocked.
//
// When the interpreter ends while a daemon thread computes, taking the GIL back ends that thread by
// unwinding its stack. The destructor therefore may be left by unwinding, which pybind11's own
// guard does not allow: there the process would abort.
#pragma once

#include <pybind11/pybind11.h>

namespace realm::bindings {

class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() noexcept(false) { PyEval_RestoreThread(state_); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace realm::bindings
