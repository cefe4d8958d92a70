// Checks of what C callers pass, before anything is done with it: no NULL where something must be,
// no length that nothing in memory can have, and structs of any version of the header.
// A refusal is kInvalidRequest and names the argument. What cannot be checked is whether memory of
// the length that a caller states is really there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace realm::capi {

// Longest text that an argument may be: ids, paths, names.
constexpr size_t kMaxTextBytes = size_t{1} << 20;

template <class T>
T& require(const char* name, T* pointer) {
  REALM_CHECK(pointer != nullptr, name, " is NULL");
  return *pointer;
}

// `length` bytes at `data`, which may be NULL only if there are none.
inline std::string_view text_of(const char* name, const char* data, size_t length,
                                size_t limit = kMaxTextBytes) {
  REALM_CHECK(data != nullptr || length == 0, name, " is NULL, with a length of ", length);
  REALM_CHECK(length <= limit, name, " has a length of ", length, "; at most ", limit);
  return {data, length};
}

// A path: what the operating system takes ends at a zero byte, so there must be none before.
inline std::string path_of(const char* name, const char* data, size_t length) {
  const std::string_view path = text_of(name, data, length);
  REALM_CHECK(!path.empty(), name, " is empty");
  REALM_CHECK(path.find('\0') == path.npos, name, " is ", quoted(path), ", with a zero byte");
  return std::string(path);
}

// `count` values at `data`, which may be NULL only if there are none.
template <class T>
std::span<T> array_of(const char* name, T* data, size_t count) {
  REALM_CHECK(data != nullptr || count == 0, name, " is NULL, with a count of ", count);
  REALM_CHECK(count <= PTRDIFF_MAX / sizeof(T), name, " has a count of ", count,
              ", more than any memory holds");
  return {data, count};
}

inline bool flag_of(const char* name, int32_t value) {
  REALM_CHECK(value == 0 || value == 1, name, " must be 0 or 1, is ", value);
  return value == 1;
}

// The room for a text.
inline std::span<char> check_text_room(const char* name, char* buffer, size_t capacity,
                                       const size_t* length) {
  require("length", length);
  return array_of(name, buffer, capacity);
}

// Copies a text to a caller's buffer, if it fits whole, and sets its length in any case.
inline void give_text(std::string_view text, char* buffer, size_t capacity, size_t* length) {
  const std::span<char> room = check_text_room("buffer", buffer, capacity, length);
  if (text.size() <= room.size()) std::copy(text.begin(), text.end(), room.begin());
  *length = text.size();
}

// ---- structs whose first field is their size, as the caller's header has it

// Above any struct of any version: what is larger was not set.
constexpr size_t kMaxStructSize = 4096;

inline void check_struct_size(const char* name, size_t size) {
  REALM_CHECK(size >= sizeof(size_t) && size <= kMaxStructSize, name, "->struct_size is ", size,
              "; it must be sizeof(*", name, ")");
}

// What a caller passes in. A newer header's struct is longer: what this library does not know must
// be zero there, as its init function leaves it.
template <class Struct>
Struct read_struct(const char* name, const Struct* given) {
  const size_t size = require(name, given).struct_size;
  check_struct_size(name, size);
  REALM_CHECK(size >= sizeof(Struct), name, "->struct_size is ", size, ", less than the ",
              sizeof(Struct), " bytes of its first version");
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  REALM_CHECK(std::all_of(bytes + sizeof(Struct), bytes + size, [](auto b) { return b == 0; }),
              name, " sets fields that this version of the library does not know");
  Struct known;
  std::memcpy(&known, given, sizeof known);
  return known;
}

// What a caller gets back: as much as its header knows.
template <class Struct>
void write_struct(const char* name, Struct value, Struct* out) {
  value.struct_size = require(name, out).struct_size;
  check_struct_size(name, value.struct_size);
  std::memcpy(out, &value, std::min(value.struct_size, sizeof value));
}

// Defaults, in a struct that is not yet anything; zeros in what a newer header has beyond.
template <class Struct>
void init_struct(const char* name, Struct defaults, Struct* out, size_t size) {
  require(name, out);
  check_struct_size(name, size);
  defaults.struct_size = size;
  std::memset(static_cast<void*>(out), 0, size);
  std::memcpy(out, &defaults, std::min(size, sizeof defaults));
}

}  // namespace realm::capi
