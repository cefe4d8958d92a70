// The tokens with a part to play: those that the metadata names by id, and those that llama.cpp
// recognizes by their text because converters forget to name them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "gguf/metadata.h"

namespace realm {

inline constexpr int32_t kNoToken = -1;

// Ids, or kNoToken.
struct SpecialTokens {
  int32_t bos = kNoToken;  // begins a text
  int32_t eos = kNoToken;  // ends it
  int32_t eot = kNoToken;  // ends a turn
  int32_t eom = kNoToken;  // ends a message that waits for a tool
  int32_t unknown = kNoToken;
  int32_t separator = kNoToken;
  int32_t padding = kNoToken;
  int32_t mask = kNoToken;
  int32_t fim_prefix = kNoToken, fim_suffix = kNoToken,
          fim_middle = kNoToken;  // fill in the middle
  int32_t fim_padding = kNoToken, fim_repository = kNoToken, fim_separator = kNoToken;
};

// The id of a text, if it is a token.
using FindToken = std::function<std::optional<int32_t>(std::string_view)>;

// Overwrites what the metadata names. An id that is not one of `n_tokens` is refused with kFormat,
// except the largest u32 (or -1), by which converters say "none".
void read_special_ids(const gguf::Metadata& metadata, int32_t n_tokens, SpecialTokens& special);

// What the texts of a vocabulary give away.
struct RecognizedTokens {
  std::vector<int32_t> control;       // control tokens, whatever the file says
  std::vector<int32_t> user_defined;  // likewise
  std::vector<int32_t> normal;        // likewise
  std::vector<int32_t> ends;          // generation ends with these, ascending
};

// Completes `special` with tokens recognized by their text, and finds all that end generation.
RecognizedTokens recognize_tokens(const FindToken& find, SpecialTokens& special);

}  // namespace realm
