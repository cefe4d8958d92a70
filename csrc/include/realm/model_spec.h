// Which model a runtime loads under which id, and what guesses ahead for it: plain options.
#pragma once

#include <optional>
#include <string>

#include "realm/speculative_config.h"

namespace realm {

struct ModelSpec {
  // What tenants call it: 1 to 128 bytes, no control characters.
  std::string model_id;
  std::string model_path;
  // A smaller model with the same vocabulary. Without a path, a model that is there under
  // draft_model_id is used; there must be one if the spec names an id.
  std::optional<std::string> draft_model_path{};
  // The draft's own id, by which several models can share one; by default "{model_id}_draft".
  std::optional<std::string> draft_model_id{};
  // How requests are speculated that do not say; by default as SpeculativeConfig says if there is a
  // draft, else not at all.
  std::optional<SpeculativeConfig> speculative{};

  bool operator==(const ModelSpec&) const = default;
};

}  // namespace realm
