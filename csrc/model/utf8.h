// UTF-8 as it arrives: tokens end anywhere, also inside a character. Utf8Stream hands on only whole
// characters and keeps the rest, at most three bytes, for the next call. Bytes that can never
// become a character are handed on as they are, in order: nothing is lost and nothing is replaced
// here. Who needs valid text replaces at the edge (Python's "replace" or "surrogateescape"), where
// an invalid byte can no longer turn into a character.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace realm {

// Length of the character that `bytes` begins with; 0 if it is not UTF-8 (malformed, overlong, a
// surrogate, above U+10FFFF) or not complete.
size_t utf8_length(std::string_view bytes);

// Whether `bytes`, 1 to 3 of them, begin a character of which only the end is missing.
bool utf8_begins_character(std::string_view bytes);

bool is_utf8(std::string_view bytes);

// One stream of text; not for two threads at once.
class Utf8Stream {
 public:
  // Appends to `out` what is complete after `bytes`.
  void push(std::string_view bytes, std::string& out);
  // The stream ends: appends the bytes that are still waiting, an unfinished character.
  void finish(std::string& out);

  // How many bytes are waiting.
  size_t pending() const { return held_.size(); }

 private:
  std::string held_;  // begins a character; empty between characters
};

}  // namespace realm
