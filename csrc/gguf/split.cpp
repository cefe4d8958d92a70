#include "gguf/split.h"

#include <cstdio>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "gguf/limits.h"

namespace realm::gguf {

namespace {

uint64_t split_number(const Metadata& metadata, const char* key, uint64_t limit,
                      const std::string& label) {
  const Value* value = metadata.find(key);
  if (value == nullptr) return 0;
  const auto number = value->unsigned_integer();
  if (!number || *number > limit) {
    fail(ErrorCode::kFormat, label, ": key ", quoted(key), ": value ", to_string(*value),
         " is not an integer from 0 to ", limit);
  }
  return *number;
}

// "-00002-of-00005.gguf" for part_idx 1 of 5.
std::string suffix(uint32_t part_idx, uint32_t n_parts) {
  char text[48];
  std::snprintf(text, sizeof text, "-%05u-of-%05u.gguf", part_idx + 1, n_parts);
  return text;
}

}  // namespace

SplitInfo split_info(const Metadata& metadata, const std::string& label) {
  SplitInfo split;
  const uint64_t n_parts = split_number(metadata, "split.count", kMaxParts, label);
  if (n_parts <= 1) return split;  // the reference merger leaves a count of 0 behind
  split.n_parts = static_cast<uint32_t>(n_parts);
  split.part_idx = static_cast<uint32_t>(split_number(metadata, "split.no", n_parts - 1, label));
  const uint64_t most_tensors = uint64_t{kMaxTensors};
  split.n_tensors = split_number(metadata, "split.tensors.count", most_tensors, label);
  return split;
}

std::vector<std::string> sibling_paths(const SplitInfo& split, const std::string& path,
                                       const std::string& label) {
  if (path.empty()) {
    fail(ErrorCode::kFormat, label, ": this is part ", split.part_idx + 1, " of ", split.n_parts,
         " of a split model, which can only be opened by path");
  }
  if (split.part_idx != 0) {
    fail(ErrorCode::kFormat, label, ": key 'split.no': value ", split.part_idx, ": this is part ",
         split.part_idx + 1, " of ", split.n_parts, "; open the first, which ends in ",
         quoted(suffix(0, split.n_parts)));
  }
  const std::string first = suffix(0, split.n_parts);
  if (!std::string_view(path).ends_with(first)) {
    fail(ErrorCode::kFormat, label, ": key 'split.count': value ", split.n_parts,
         ": the first part of a split model must be named like ", quoted("model" + first));
  }
  const std::string stem = path.substr(0, path.size() - first.size());
  std::vector<std::string> paths;
  for (uint32_t i = 0; i < split.n_parts; ++i) paths.push_back(stem + suffix(i, split.n_parts));
  return paths;
}

void check_sibling(const SplitInfo& first, const SplitInfo& sibling, uint32_t part_idx,
                   const std::string& label) {
  if (sibling.n_parts != first.n_parts) {
    fail(ErrorCode::kFormat, label, ": key 'split.count': value ", sibling.n_parts,
         ", the first part says ", first.n_parts);
  }
  if (sibling.part_idx != part_idx) {
    fail(ErrorCode::kFormat, label, ": key 'split.no': value ", sibling.part_idx,
         ", its name says ", part_idx);
  }
}

void check_tensor_total(const SplitInfo& first, uint64_t n_tensors, const std::string& label) {
  if (first.n_tensors == n_tensors) return;
  fail(ErrorCode::kFormat, label, ": key 'split.tensors.count': value ", first.n_tensors,
       ", the parts have ", n_tensors);
}

}  // namespace realm::gguf
