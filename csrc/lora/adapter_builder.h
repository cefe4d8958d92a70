// Fits an adapter's tensors to a base: each finds its place or is refused with a reason, and what
// is refused is never dropped in silence. Blocking; uses the process's pool.
#pragma once

#include <memory>

#include "lora/adapter.h"
#include "lora/adapter_source.h"
#include "lora/base_layout.h"

namespace realm::lora {

struct BuildOptions {
  // Refusing any tensor refuses the adapter; else the modules that are whole are taken.
  bool strict = true;
  // Whether the adapter is to run beside the base's weights. What can only be merged is refused.
  bool on_the_fly = true;
};

// Throws kAdapter, listing everything that was refused, if anything was and options.strict, and
// also if nothing is left to apply.
std::shared_ptr<const Adapter> build_adapter(const AdapterSource& source, const BaseLayout& base,
                                             const BuildOptions& options);

}  // namespace realm::lora
