// The manifest of mutants made by tools/gguf_mutate.py, and what of it concerns the container. That
// tool's verdicts are a model loader's: it says "reject" also for files that are perfect containers
// of a model that cannot be. model_concern() names those, by category and description.
#pragma once

#include <string>
#include <vector>

#include "fuzz/mutate.h"

namespace realm::test {

struct ManifestEntry {
  std::string file;
  std::string category;
  std::string what;
  Verdict expect = Verdict::kEither;
};

// Of JSON lines with string members file, category, desc and expect. Throws std::runtime_error.
std::vector<ManifestEntry> read_manifest(const std::string& lines);

// Why loading a mutant of this "reject" is no fault of the container; null when it is one. (That
// the file is consistent is checked all the same.)
const char* model_concern(const ManifestEntry& entry);

}  // namespace realm::test
