// Split models: the files `name-00001-of-000NN.gguf` that the reference splitter writes, each a
// GGUF of its own with the keys split.no, split.count and split.tensors.count. Only numbers and
// names; no file is touched here. `label` is the part's name for messages.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gguf/metadata.h"

namespace realm::gguf {

struct SplitInfo {
  uint32_t n_parts = 1;    // 1: not split
  uint32_t part_idx = 0;   // from 0
  uint64_t n_tensors = 0;  // of all parts together
};

// What the metadata of a part says. Throws kFormat for values no splitter writes.
SplitInfo split_info(const Metadata& metadata, const std::string& label);

// The paths of all parts, given that of the first. Throws kFormat, with advice, if the file is not
// the first part, is not named like one, or has no path.
std::vector<std::string> sibling_paths(const SplitInfo& split, const std::string& path,
                                       const std::string& label);

// Throws kFormat if the part opened as number `part_idx` says that it is another.
void check_sibling(const SplitInfo& first, const SplitInfo& sibling, uint32_t part_idx,
                   const std::string& label);
// Throws kFormat if the parts do not have the number of tensors that they declare.
void check_tensor_total(const SplitInfo& first, uint64_t n_tensors, const std::string& label);

}  // namespace realm::gguf
