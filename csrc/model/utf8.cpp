#include "model/utf8.h"

#include <algorithm>

namespace realm {

namespace {

struct ByteRange {
  unsigned char first, last;
  bool holds(char c) const {
    const auto byte = static_cast<unsigned char>(c);
    return first <= byte && byte <= last;
  }
};

// Bytes that a character with this lead has; 0 for a byte that leads none.
size_t length_by_lead(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

// The second byte excludes overlong forms, surrogates and what lies above U+10FFFF.
ByteRange second_byte(unsigned char lead) {
  switch (lead) {
    case 0xe0:
      return {0xa0, 0xbf};
    case 0xed:
      return {0x80, 0x9f};
    case 0xf0:
      return {0x90, 0xbf};
    case 0xf4:
      return {0x80, 0x8f};
    default:
      return {0x80, 0xbf};
  }
}

// How many of the first `limit` bytes continue the character that bytes[0] leads, itself included.
size_t matching_bytes(std::string_view bytes, size_t limit) {
  const auto lead = static_cast<unsigned char>(bytes[0]);
  const size_t n = std::min(bytes.size(), limit);
  if (n > 1 && !second_byte(lead).holds(bytes[1])) return 1;
  size_t i = std::min<size_t>(n, 2);
  while (i < n && ByteRange{0x80, 0xbf}.holds(bytes[i])) ++i;
  return i;
}

}  // namespace

size_t utf8_length(std::string_view bytes) {
  if (bytes.empty()) return 0;
  const size_t length = length_by_lead(static_cast<unsigned char>(bytes[0]));
  return length != 0 && matching_bytes(bytes, length) == length ? length : 0;
}

bool utf8_begins_character(std::string_view bytes) {
  if (bytes.empty()) return false;
  const size_t length = length_by_lead(static_cast<unsigned char>(bytes[0]));
  return bytes.size() < length && matching_bytes(bytes, length) == bytes.size();
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = utf8_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

void Utf8Stream::push(std::string_view bytes, std::string& out) {
  held_.append(bytes);
  // Only the last three bytes can belong to an unfinished character, and only from a lead on.
  const size_t n_tail = std::min<size_t>(held_.size(), 3);
  size_t complete = held_.size();
  for (size_t i = held_.size() - n_tail; i < held_.size(); ++i) {
    if (utf8_begins_character(std::string_view(held_).substr(i))) {
      complete = i;
      break;
    }
  }
  out.append(held_, 0, complete);
  held_.erase(0, complete);
}

void Utf8Stream::finish(std::string& out) {
  out += held_;
  held_.clear();
}

}  // namespace realm
