// From a token's text to its id. An open hash table over texts that the caller keeps: SipHash with
// a key drawn per table, so that a file cannot choose texts that collide; 16 bytes per token, one
// probe for most look-ups. Constant after construction: safe to share.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "gguf/metadata.h"

namespace realm {

// SipHash-1-3 of `bytes`.
uint64_t keyed_hash(uint64_t key0, uint64_t key1, std::string_view bytes);

class TokenIndex {
 public:
  // Two positions that hold the same text.
  struct Repetition {
    int32_t first, second;
  };

  TokenIndex() = default;
  // Indexes every text but empty ones. If one occurs twice, says so in `repetition` and keeps the
  // first.
  TokenIndex(const gguf::StringArray& texts, std::optional<Repetition>& repetition);

  // `texts` must be what the index was made of.
  std::optional<int32_t> find(std::string_view text, const gguf::StringArray& texts) const;

 private:
  struct Slot {
    int32_t id = -1;  // -1: free; at least half of the slots are
    uint32_t tag = 0;
  };
  size_t slot_of(std::string_view text, uint64_t hash, const gguf::StringArray& texts) const;

  uint64_t key0_ = 0, key1_ = 0;
  size_t mask_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace realm
