// One module's tensors to one change of one matrix of the base. Pure functions, called from the
// pool's threads.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lora/adapter.h"
#include "lora/adapter_config.h"
#include "lora/base_layout.h"
#include "lora/names.h"
#include "lora/source_tensor.h"

namespace realm::lora {

struct ModulePart {
  size_t source;  // which tensor of the file
  Role role;
  SourceTensor tensor;  // it, or the slice that is this expert's
};

struct Module {
  uint32_t tensor = 0;
  int64_t expert = 0;
  std::string name;  // as the file has it
  bool is_transformers_order = false;
  bool is_refused = false;
  std::set<int64_t> layers_named;
  std::vector<ModulePart> parts;

  const SourceTensor* find(Role role) const;
};

struct ModuleContext {
  const BaseLayout& base;
  const AdapterConfig& config;
  bool on_the_fly;
};

// A change, a replacement, both (a saved weight with a new bias), neither (a copy of what the base
// has), or a refusal.
struct ModuleResult {
  std::optional<Delta> delta;
  std::optional<Saved> saved;
  std::string refusal;
};

ModuleResult build_module(const Module& module, const ModuleContext& context);

// "A", "magnitude", ...: for reports.
const char* part_name(Role role);

}  // namespace realm::lora
