// Building messages: concat("tensor ", name, ": ", n, " bytes"). Values print as a person reads
// them; text from a file goes through quoted(), which bounds its length and escapes what a terminal
// obeys.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

namespace realm {

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// `text` in single quotes, bytes outside printable ASCII as \xNN, cut after `limit` characters.
std::string quoted(std::string_view text, size_t limit = 64);

// 0x-prefixed hexadecimal, for values that only make sense as bits.
std::string hex(uint64_t value);

// "1.5 GiB", "12 bytes".
std::string human_bytes(uint64_t bytes);

}  // namespace realm
