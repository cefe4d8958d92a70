// Structured mutants of a small safetensors adapter, each with a verdict on what loading it must
// do. Deterministic: a mutant depends only on the seed and its index.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fuzz/mutate.h"

namespace realm::test {

// A tensor as the header describes it; every member is text, so that a mutant can say anything.
struct HeaderEntry {
  std::string name, dtype, shape, offsets;
};

class SafetensorsMutator {
 public:
  explicit SafetensorsMutator(uint64_t seed);

  // The adapter that is mutated: rank 4 on q_proj [64, 64], v_proj [32, 64] and down_proj [64, 128]
  // of two layers.
  std::string base() const;

  size_t n_structured() const { return catalogue_.size(); }
  Mutant structured(size_t i) const;
  // Byte flips, mostly in the header.
  Mutant random(uint64_t i) const;

 private:
  struct Edit {
    std::string category, what;
    Verdict expect;
    std::function<std::string()> make;
  };

  void add(const char* category, std::string what, Verdict expect,
           std::function<std::string()> make);
  void add_entry(const char* category, size_t idx, std::string what, Verdict expect,
                 std::function<void(HeaderEntry&)> edit);
  void add_lengths();
  void add_headers();
  void add_entries(size_t idx);
  void add_values(size_t idx);
  void add_cuts();

  uint64_t seed_;
  std::vector<HeaderEntry> entries_;
  std::string data_;
  std::vector<Edit> catalogue_;
};

}  // namespace realm::test
