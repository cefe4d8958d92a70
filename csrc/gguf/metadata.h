// The metadata of a GGUF file as values: an ordered list of keys, each with a scalar, a text or an
// array. Plain data with value semantics; constant objects are safe to share between threads. Texts
// are bytes as the file holds them (mostly UTF-8, but vocabularies hold anything); keys are valid
// UTF-8 without control characters. What a key means is no concern of this room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "gguf/value_type.h"

namespace realm::gguf {

// An array of numbers or bools, kept as the file's little-endian bytes.
class Array {
 public:
  Array() = default;
  // `bytes` must be whole elements of `element_type`, a number or bool; bools must be 0 or 1.
  Array(ValueType element_type, std::vector<std::byte> bytes);

  template <class T>
  static Array of(std::span<const T> values) {
    const auto bytes = std::as_bytes(values);
    return Array(value_type_of<T>, {bytes.begin(), bytes.end()});
  }
  template <class T>
  static Array of(std::initializer_list<T> values) {
    return of(std::span<const T>(values.begin(), values.size()));
  }

  ValueType element_type() const { return element_type_; }
  size_t size() const { return bytes_.size() / bytes_of(element_type_); }
  std::span<const std::byte> bytes() const { return bytes_; }

  // Element `i` as the T the array holds; T must be that type and i < size().
  template <class T>
  T at(size_t i) const {
    REALM_DCHECK(value_type_of<T> == element_type_ && i < size());
    T value;
    std::memcpy(&value, bytes_.data() + i * sizeof(T), sizeof(T));
    return value;
  }
  // Element `i` of any integer type (no value for floats, bools, and u64 above INT64_MAX).
  std::optional<int64_t> integer(size_t i) const;
  // Element `i` of any number type as a double (no value for bools).
  std::optional<double> number(size_t i) const;

  bool operator==(const Array& other) const = default;

 private:
  ValueType element_type_ = ValueType::kU8;
  std::vector<std::byte> bytes_;
};

// An array of texts: one buffer and the end of each text in it, so that a vocabulary of 256 k
// tokens is two allocations.
class StringArray {
 public:
  StringArray() = default;
  StringArray(std::initializer_list<std::string_view> texts);

  void reserve(size_t n_texts) { ends_.reserve(n_texts); }
  void push_back(std::string_view text);

  size_t size() const { return ends_.size(); }
  std::string_view operator[](size_t i) const {
    const uint64_t begin = i == 0 ? 0 : ends_[i - 1];
    return {buffer_.data() + begin, ends_[i] - begin};
  }

  bool operator==(const StringArray& other) const = default;

 private:
  std::string buffer_;
  std::vector<uint64_t> ends_;
};

// One value. Build from the exact C++ type; read through the accessors, which give no value (or
// null) when the value is of another kind, so that a caller can name the key in its own error.
class Value {
 public:
  using Storage = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool,
                               std::string, uint64_t, int64_t, double, Array, StringArray>;

  template <class T>
    requires std::is_constructible_v<Storage, std::in_place_type_t<T>, T>
  Value(T value) : storage_(std::in_place_type<T>, std::move(value)) {}
  Value(std::string_view text) : storage_(std::string(text)) {}
  Value(const char* text) : storage_(std::string(text)) {}

  ValueType type() const;
  const Storage& storage() const { return storage_; }

  // Any integer type whose value fits.
  std::optional<uint64_t> unsigned_integer() const;
  std::optional<int64_t> integer() const;
  // Any number type, converted.
  std::optional<double> number() const;
  std::optional<bool> boolean() const;
  std::optional<std::string_view> text() const;
  const Array* array() const { return std::get_if<Array>(&storage_); }
  const StringArray* strings() const { return std::get_if<StringArray>(&storage_); }

  // Bit-equal values of the same type (so that NaN equals itself).
  bool operator==(const Value& other) const;

 private:
  Storage storage_;
};

// "42", "'llama'", "array of 32000 texts": for messages and `inspect`, bounded in length.
std::string to_string(const Value& value);

// Keys in file order, each once.
class Metadata {
 public:
  struct Entry {
    std::string key;
    Value value;
    bool operator==(const Entry& other) const = default;
  };

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

  // Null when there is no such key. The pointer lives until the next set().
  const Value* find(std::string_view key) const;
  // Appends, or replaces the value in place. Throws kInvalidRequest if no file may hold `key`.
  void set(std::string_view key, Value value);

  bool operator==(const Metadata& other) const { return entries_ == other.entries_; }

 private:
  std::vector<Entry> entries_;
  std::map<std::string, size_t, std::less<>>
      positions_;  // a tree: a file cannot make it degenerate
};

// Why a key or a tensor name is unfit (empty, too long, control characters, not UTF-8); null when
// it is fine.
const char* name_defect(std::string_view name, uint64_t max_bytes);

}  // namespace realm::gguf
