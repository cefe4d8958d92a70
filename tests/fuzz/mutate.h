// Structured mutants of a small GGUF file, each with a verdict on what the *container* must do with
// it. What the file means as a model is not judged here. Deterministic: a mutant depends only on
// the base, the seed and its index.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fuzz/walk.h"

namespace realm::test {

enum class Verdict {
  kReject,  // the container must refuse it
  kEither,  // refusing and loading are both right, as long as nothing breaks
  kLoad,    // the container must load it
};

struct Mutant {
  std::string category;
  std::string what;
  Verdict expect = Verdict::kEither;
  std::string bytes;
  const char* concern = nullptr;  // why a kReject that loads is another's to refuse, if it is
};

class Mutator {
 public:
  // `base` must be a valid little-endian file without general.alignment and split keys.
  Mutator(std::string base, uint64_t seed);

  // The catalogue: every field to extreme values, texts, types, counts, shapes, layouts, cuts.
  size_t n_structured() const { return catalogue_.size(); }
  Mutant structured(size_t i) const;
  // Byte flips, havoc, splices, cuts and stacked field edits, without end.
  Mutant random(uint64_t i) const;

  const std::string& base() const { return base_; }

 private:
  struct Edit {
    std::string category;
    std::string what;
    Verdict expect;
    std::function<std::string()> make;
  };

  void add(const char* category, std::string what, Verdict expect,
           std::function<std::string()> make);
  void add_raw(const char* category, std::string what, Verdict expect,
               std::function<void(RawGguf&)> edit);
  void add_field_edits();
  void add_cuts();
  void add_header_edits();
  void add_name_edits();
  void add_value_edits();
  void add_tensor_edits();
  void add_layout_edits();
  Verdict verdict_of(const Field& field, uint64_t value) const;

  std::string base_;
  uint64_t seed_;
  RawGguf raw_;
  std::vector<Field> fields_;
  uint64_t header_end_ = 0;
  std::vector<Edit> catalogue_;
};

}  // namespace realm::test
