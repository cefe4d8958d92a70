// Parsing the header of one part: metadata and the place of every tensor. All that the container
// promises about a single file is checked here; GgufFile adds what concerns several.
#pragma once

#include <cstdint>
#include <vector>

#include "gguf/metadata.h"
#include "gguf/part.h"
#include "gguf/reader.h"

namespace realm::gguf {

struct Directory {
  uint32_t version = 0;
  uint32_t alignment = 0;
  Metadata metadata;
  std::vector<TensorInfo> tensors;  // offsets from the start of the part
  std::vector<uint64_t> entry_at;   // byte offset of each tensor's entry, for messages
};

// Throws kFormat. `part_idx` goes into every TensorInfo.
Directory parse_directory(const Part& part, uint32_t part_idx);

// The name of a weight format that files have used and we do not read ("Q4_0_4_4"), else null.
const char* unsupported_format_name(uint32_t id);

}  // namespace realm::gguf
