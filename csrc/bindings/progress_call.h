// Progress of long work on files: a Python function that is called as it goes on, and Ctrl-C that
// reaches the core.
#pragma once

#include <functional>
#include <optional>
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <utility>

#include "bindings/gil.h"

namespace realm::bindings {

using Progress = std::function<void(uint64_t, uint64_t)>;

// Calls the caller's function and lets signals in. What Python raises is kept and cancels the work;
// the core never sees a Python exception.
class ProgressCall {
 public:
  explicit ProgressCall(Progress progress) : progress_(std::move(progress)) {}

  bool operator()(uint64_t done, uint64_t total) {
    const Locked locked;
    try {
      if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
      if (progress_) progress_(done, total);
    } catch (pybind11::error_already_set& error) {
      raised_.emplace(std::move(error));
    }
    return !raised_;
  }

  void rethrow() const {
    if (raised_) throw *raised_;
  }

 private:
  Progress progress_;
  std::optional<pybind11::error_already_set> raised_;
};

}  // namespace realm::bindings
