// The safetensors container: a length, a JSON header from a stranger, and tensor data. Everything
// is checked before anything is exposed: the header is strict JSON of bounded size, every tensor's
// size follows from its type and shape, and the tensors cover the data whole, without holes or
// overlap. What tensors mean is for others. Refusals are kFormat. Pure functions.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lora/source_tensor.h"

namespace realm::lora {

struct Safetensors {
  std::vector<SourceTensor> tensors;  // by offset
  std::map<std::string, std::string> metadata;
};

// The tensors' bytes stay where they are, in `file`. `label` is what messages call it.
Safetensors parse_safetensors(std::span<const std::byte> file, std::string_view label);

}  // namespace realm::lora
