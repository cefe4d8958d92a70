// What holds for all models of a runtime: plain options, each default stated here or in
// engine_options.h and nowhere else.
#pragma once

#include <string>

#include "realm/engine_options.h"

namespace realm {

struct RuntimeOptions {
  // Of each model's engine.
  EngineOptions engine{};
  // Where models compute: "cpu", "cuda", "cuda:1", "auto".
  std::string device = "auto";
  // Of the CPU; 0: every processor this process may use.
  int n_threads = 0;
  // Use weights in their files instead of packing them into memory; see ModelOptions.
  bool mapped_weights = false;
};

}  // namespace realm
