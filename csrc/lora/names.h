// From the names in adapter files to the base's tensors: one table for PEFT (transformers' module
// names), GGUF, Meta's original names and this project's own. A name says three things: which
// module, which part of its adaptation, and (transformers' names) that rows are in transformers'
// order. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lora/base_layout.h"

namespace realm::lora {

enum class Role {
  kA,          // [r, in], of an embedding [r, V]
  kB,          // [out, r]
  kMagnitude,  // DoRA's length of each output's row
  kLoraBias,   // added with B
  kAlpha,      // one number: this module's alpha
  kWeight,     // the module's whole weight, saved
  kBias,       // the module's whole bias, saved
  kBaseCopy,   // the base's own weight, saved along with the factors
};

struct ParsedName {
  Role role = Role::kA;
  std::string module;  // without PEFT's prefix: "model.layers.0.mlp.up_proj", "blk.0.ffn_up"
};

// None for a name that is no part of an adapter.
std::optional<ParsedName> parse_name(std::string_view name);

struct Place {
  uint32_t tensor = 0;  // in BaseLayout::tensors()
  int64_t expert = -1;  // -1: the matrix, or a whole bank
  int64_t layer = -1;   // -1: in no layer
  bool is_transformers_order = false;
};

// Where a module is in the base. Without a place `reason` says why in words.
std::optional<Place> find_place(const BaseLayout& base, std::string_view module,
                                std::string& reason);

}  // namespace realm::lora
