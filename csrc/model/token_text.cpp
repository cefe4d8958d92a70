#include "model/token_text.h"

#include <array>

namespace realm {

namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";
constexpr std::string_view kHexDigits = "0123456789ABCDEF";

constexpr bool is_printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

// Printable bytes stand for themselves as code points, the others for 256 and on, in order.
constexpr std::array<uint16_t, 256> make_alphabet() {
  std::array<uint16_t, 256> alphabet{};
  uint16_t next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    alphabet[byte] = is_printable(byte) ? static_cast<uint16_t>(byte) : next++;
  }
  return alphabet;
}

constexpr std::array<uint16_t, 256> kAlphabet = make_alphabet();
constexpr size_t kAlphabetEnd = 256 + 68;

// Byte by code point; 256 where there is none.
constexpr std::array<uint16_t, kAlphabetEnd> make_inverse() {
  std::array<uint16_t, kAlphabetEnd> inverse{};
  inverse.fill(256);
  for (uint16_t byte = 0; byte < 256; ++byte) inverse[kAlphabet[byte]] = byte;
  return inverse;
}

constexpr std::array<uint16_t, kAlphabetEnd> kInverse = make_inverse();

std::optional<uint8_t> hex_digit(char c) {
  const size_t value = kHexDigits.find(c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c);
  if (value == std::string_view::npos) return std::nullopt;
  return static_cast<uint8_t>(value);
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size());
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != std::string_view::npos; at = hit + from.size()) {
    result.append(text.substr(at, hit - at)).append(to);
  }
  return result.append(text.substr(at));
}

}  // namespace

std::string byte_text(uint8_t byte) {
  return {'<', '0', 'x', kHexDigits[byte >> 4], kHexDigits[byte & 15], '>'};
}

std::optional<uint8_t> parse_byte_text(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  const auto high = hex_digit(text[3]), low = hex_digit(text[4]);
  if (!high || !low) return std::nullopt;
  return static_cast<uint8_t>(*high << 4 | *low);
}

std::string from_byte_alphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  // The alphabet ends below U+0800: one or two bytes each.
  for (size_t i = 0; i < text.size(); ++i) {
    auto code = static_cast<unsigned>(static_cast<unsigned char>(text[i]));
    if (code >= 0x80) {
      if ((code & 0xe0) != 0xc0 || i + 1 == text.size()) return std::string(text);
      const auto next = static_cast<unsigned char>(text[++i]);
      if ((next & 0xc0) != 0x80) return std::string(text);
      code = (code & 0x1f) << 6 | (next & 0x3fu);
      if (code < 0x80) return std::string(text);
    }
    if (code >= kAlphabetEnd || kInverse[code] == 256) return std::string(text);
    bytes += static_cast<char>(kInverse[code]);
  }
  return bytes;
}

std::string to_byte_alphabet(uint8_t byte) {
  const uint16_t code = kAlphabet[byte];
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
}

std::string unescape_spaces(std::string_view text) {
  return replace_all(text, kSpaceMark, " ");
}

std::string escape_spaces(std::string_view text) {
  return replace_all(text, " ", kSpaceMark);
}

}  // namespace realm
