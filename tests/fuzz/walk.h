// Walks over the header of a valid GGUF file and notes where every field lies. Shares no code with
// csrc/gguf.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fuzz/raw_gguf.h"

namespace realm::test {

// One number or text of the header, where it lies.
struct Field {
  enum Kind {
    kMagic,
    kVersion,
    kTensorCount,
    kKeyCount,
    kTextLength,
    kValueType,
    kElementType,
    kArrayLength,
    kScalar,
    kBool,
    kRank,
    kExtent,
    kFormat,
    kOffset,
    kText,
  };
  Kind kind;
  uint64_t offset;
  uint64_t size;
  std::string owner;  // key or tensor name
};

// The little-endian number of `size` bytes at `offset`.
uint64_t number_at(const std::string& bytes, uint64_t offset, uint64_t size);
// Bytes of a number or bool of that value type.
uint64_t scalar_bytes(uint64_t type);

// Takes `bytes` apart into `raw` and `fields`; returns where the header ends. Trusts the file,
// whose alignment must be 32.
uint64_t walk(const std::string& bytes, RawGguf& raw, std::vector<Field>& fields);

}  // namespace realm::test
