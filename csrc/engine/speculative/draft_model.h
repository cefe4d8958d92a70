// The draft model of an engine, as whoever makes the engine names it.
#pragma once

#include <memory>
#include <string>

#include "model/model.h"

namespace realm {

struct DraftModel {
  std::shared_ptr<Model> model;  // null if there is none
  // Why there is none though one was wanted: requests that would use it are then decoded plainly,
  // and their status says this. Empty if none was wanted: such requests are then refused.
  std::string failure;

  bool was_wanted() const { return model || !failure.empty(); }
};

}  // namespace realm
