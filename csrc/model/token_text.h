// The three ways in which the text of a token stands for bytes: GPT-2's alphabet, in which a
// printable character stands for each byte, sentencepiece's U+2581 for a space, and <0xNN> for a
// single byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace realm {

// "<0x0A>" for 10.
std::string byte_text(uint8_t byte);
// 10 for "<0x0A>"; no value for anything that is not such a text.
std::optional<uint8_t> parse_byte_text(std::string_view text);

// The bytes that `text` stands for in GPT-2's alphabet; `text` itself if a character of it is not
// in the alphabet (added tokens are plain text).
std::string from_byte_alphabet(std::string_view text);
// The character of the alphabet that stands for `byte`, as UTF-8.
std::string to_byte_alphabet(uint8_t byte);

// Every U+2581 a space, and back.
std::string unescape_spaces(std::string_view text);
std::string escape_spaces(std::string_view text);

}  // namespace realm
