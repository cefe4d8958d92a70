// Merging adapters into a base: which files, at which scales. Merging at load goes through here
// too.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gguf/reader.h"
#include "lora/adapter_source.h"
#include "lora/merge_file.h"
#include "model/config.h"

namespace realm {

// Adapters in the order of merging, each with its scale.
using AdapterSources = std::vector<std::pair<lora::AdapterSource, float>>;

// Fits every adapter to the base, strictly. Throws kAdapter.
std::shared_ptr<const lora::Merge> make_merge(std::shared_ptr<const lora::BaseLayout> base,
                                              const AdapterSources& adapters);

// Writes `base` with the adapters in it; lora/merge_file.h says how and what is thrown.
lora::MergeReport merge_adapters(std::shared_ptr<const gguf::GgufFile> base,
                                 const AdapterSources& adapters, const std::string& out_path,
                                 const lora::MergeOptions& options);

}  // namespace realm
