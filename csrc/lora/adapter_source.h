// Opening adapters wherever they come from: a PEFT directory, a safetensors file (with the
// adapter_config.json beside it, if there is one), a GGUF adapter, or the same in memory. Contents
// are read into our own memory at once, so a file that changes later changes nothing. What the
// tensors mean for a base is adapter_builder.h's affair.
//
// Throws kIo; kFormat for a container or configuration that is damaged; kAdapter, with advice, for
// what is no LoRA adapter or cannot be computed.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lora/adapter_config.h"
#include "lora/source_tensor.h"

namespace realm::lora {

struct AdapterSource {
  std::string label;
  std::vector<SourceTensor> tensors;
  std::shared_ptr<const void> owner;  // of the tensors' bytes
  AdapterConfig config;
  std::string architecture;  // that a GGUF adapter was made for; empty: not said
};

// `config` is the text of an adapter_config.json, and replaces the one that would be found.
AdapterSource open_adapter(const std::string& path, const std::optional<std::string>& config = {});

// The contents of a safetensors file or of a GGUF adapter.
AdapterSource adapter_from_bytes(std::span<const std::byte> bytes,
                                 std::shared_ptr<const void> owner,
                                 const std::optional<std::string>& config = {});

// Tensors as they are. Throws kFormat if a name occurs twice.
AdapterSource adapter_from_tensors(std::vector<SourceTensor> tensors,
                                   std::shared_ptr<const void> owner,
                                   const std::optional<std::string>& config = {});

}  // namespace realm::lora
