// A GGUF file with adapters merged in: the base's tensors in their order, changed ones in their own
// type or one that the caller names, everything else byte for byte. Streams: memory is bounded by
// a few chunks of rows and the adapters. Also the same for one tensor into memory, for merging at
// load. Blocking; calls are independent.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gguf/rewriter.h"
#include "lora/merge.h"

namespace realm::lora {

struct MergeOptions {
  // Of changed matrices; none: each keeps its own type. Vectors keep theirs always.
  std::optional<DType> type;
  int n_threads = 0;  // 0: one per processor that this process may use
  // Called on the calling thread with the bytes of input done and in all; false cancels.
  std::function<bool(uint64_t done, uint64_t total)> progress;
};

struct MergeReport {
  std::vector<gguf::RequantizedTensor> tensors;  // those that changed, with what encoding cost them
  uint64_t n_copied = 0;
};

// Throws kInvalidRequest if a changed tensor cannot be written in its type, kFormat, kIo,
// kCancelled; on any failure out_path is as it was before.
MergeReport merge_to_file(const gguf::GgufFile& in, const Merge& merge, const std::string& out_path,
                          const MergeOptions& options);

// How a tensor of the file is rewritten: `name` is the output's, with its ".weight" or ".bias".
gguf::Rewrite plan_rewrite(const gguf::GgufFile& in, const Merge& merge, const std::string& name,
                           const std::optional<DType>& type);

}  // namespace realm::lora
