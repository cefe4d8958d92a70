// Speculation options as Python holds them.
#pragma once

#include <memory>
#include <pybind11/pybind11.h>

#include "engine/speculative/drafter.h"
#include "realm/speculative_config.h"

namespace realm::bindings {

struct PySpeculativeConfig {
  SpeculativeConfig options;
  pybind11::object drafter;         // "model", "ngram" or a function
  std::shared_ptr<Drafter> custom;  // of the function
};

}  // namespace realm::bindings
