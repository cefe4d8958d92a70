// What an adapter says of itself beside its tensors: PEFT's adapter_config.json, or what a GGUF
// adapter's metadata says of the same. Every option that changes what is computed is either
// followed or refused by name; options unknown to us are refused unless they are off. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lora/name_pattern.h"

namespace realm::lora {

struct AdapterConfig {
  // Whether the adapter has a configuration at all; without one nothing below is a promise, and
  // the scale is 1 (alpha is the rank).
  bool is_declared = false;
  double alpha = 0;
  std::optional<int64_t> rank;
  bool alpha_over_root = false;  // rsLoRA: alpha / sqrt(r)
  bool dora = false, lora_bias = false;
  enum class Bias { kNone, kAll, kLoraOnly } bias = Bias::kNone;
  std::vector<std::pair<NamePattern, int64_t>> rank_pattern;
  std::vector<std::pair<NamePattern, double>> alpha_pattern;
  std::vector<std::string> target_modules;    // ends of module names
  std::optional<NamePattern> target_pattern;  // or one pattern for the whole name
  std::vector<std::string> modules_to_save;
  std::vector<int64_t> layers_to_transform;  // empty: all

  // alpha / r for a module of rank `r`, by the first pattern that matches.
  double scale_of(std::string_view module, int64_t r) const;
  // The rank that the configuration promises a module; none when it does not.
  std::optional<int64_t> rank_of(std::string_view module) const;
  bool targets(std::string_view module) const;
  bool saves(std::string_view module) const;
};

// Whether `module` is `name` or ends with it behind a dot.
bool ends_module(std::string_view module, std::string_view name);

// Throws kFormat for text that is no JSON and kAdapter, listing every reason, for an adapter that
// this version cannot compute.
AdapterConfig parse_adapter_config(std::string_view text);

}  // namespace realm::lora
