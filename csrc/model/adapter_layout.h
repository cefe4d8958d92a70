// What adapters may know of a model: its file's tensors as lora/ wants them.
#pragma once

#include <memory>

#include "gguf/reader.h"
#include "lora/base_layout.h"
#include "model/config.h"

namespace realm {

// The layout keeps the file, which it decodes values from.
lora::BaseLayout adapter_layout(std::shared_ptr<const gguf::GgufFile> file,
                                const ModelConfig& config);

}  // namespace realm
