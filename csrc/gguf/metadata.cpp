#include "gguf/metadata.h"

#include <algorithm>

#include "base/text.h"
#include "gguf/limits.h"

namespace realm::gguf {

namespace {

constexpr const char* kTypeNames[kValueTypeCount] = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "text", "array", "u64", "i64", "f64"};
constexpr uint32_t kTypeBytes[kValueTypeCount] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

template <class T>
constexpr bool is_integer = std::is_integral_v<T> && !std::is_same_v<T, bool>;
template <class T>
constexpr bool is_number = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;

template <class T>
std::optional<int64_t> to_signed(T value) {
  if constexpr (std::is_same_v<T, uint64_t>) {
    if (value > INT64_MAX) return std::nullopt;
  }
  return static_cast<int64_t>(value);
}

// Length of the UTF-8 character that `text` begins with; 0 if malformed, overlong or a surrogate.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xed && byte(1) > 0x9f;
  const bool too_large = lead == 0xf4 && byte(1) > 0x8f;
  return overlong || surrogate || too_large ? 0 : length;
}

}  // namespace

const char* name_of(ValueType type) {
  return kTypeNames[static_cast<uint32_t>(type)];
}
uint32_t bytes_of(ValueType type) {
  return kTypeBytes[static_cast<uint32_t>(type)];
}

const char* name_defect(std::string_view name, uint64_t max_bytes) {
  if (name.empty()) return "is empty";
  if (name.size() > max_bytes) return "is too long";
  while (!name.empty()) {
    const size_t length = utf8_length(name);
    if (length == 0) return "is not UTF-8";
    const auto lead = static_cast<unsigned char>(name[0]);
    if (lead < 0x20 || lead == 0x7f) return "has a control character";
    name.remove_prefix(length);
  }
  return nullptr;
}

// ---- Array
// ----------------------------------------------------------------------------------------------

Array::Array(ValueType element_type, std::vector<std::byte> bytes)
    : element_type_(element_type), bytes_(std::move(bytes)) {
  const uint32_t width = bytes_of(element_type);
  REALM_CHECK(width != 0, "an Array cannot hold ", name_of(element_type), " elements");
  REALM_CHECK(bytes_.size() % width == 0, bytes_.size(), " bytes are not whole elements of type ",
              name_of(element_type));
  if (element_type != ValueType::kBool) return;
  const bool valid = std::ranges::all_of(bytes_, [](std::byte b) { return b <= std::byte{1}; });
  REALM_CHECK(valid, "a bool array has an element that is neither 0 nor 1");
}

std::optional<int64_t> Array::integer(size_t i) const {
  return with_number_type(element_type_, [&]<class T>(std::type_identity<T>) {
    if constexpr (is_integer<T>) {
      return to_signed(at<T>(i));
    } else {
      return std::optional<int64_t>();
    }
  });
}

std::optional<double> Array::number(size_t i) const {
  return with_number_type(element_type_, [&]<class T>(std::type_identity<T>) {
    if constexpr (is_number<T>) {
      return std::optional(static_cast<double>(at<T>(i)));
    } else {
      return std::optional<double>();
    }
  });
}

// ---- StringArray
// ----------------------------------------------------------------------------------------

StringArray::StringArray(std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) push_back(text);
}

void StringArray::push_back(std::string_view text) {
  buffer_ += text;
  ends_.push_back(buffer_.size());
}

// ---- Value
// ----------------------------------------------------------------------------------------------

ValueType Value::type() const {
  return std::visit(
      []<class T>(const T&) {
        if constexpr (std::is_arithmetic_v<T>) {
          return value_type_of<T>;
        } else {
          return std::is_same_v<T, std::string> ? ValueType::kText : ValueType::kArray;
        }
      },
      storage_);
}

std::optional<int64_t> Value::integer() const {
  return std::visit(
      []<class T>(const T& value) {
        if constexpr (is_integer<T>) {
          return to_signed(value);
        } else {
          return std::optional<int64_t>();
        }
      },
      storage_);
}

std::optional<uint64_t> Value::unsigned_integer() const {
  if (const auto* large = std::get_if<uint64_t>(&storage_)) return *large;
  const auto value = integer();
  if (!value || *value < 0) return std::nullopt;
  return static_cast<uint64_t>(*value);
}

std::optional<double> Value::number() const {
  return std::visit(
      []<class T>(const T& value) {
        if constexpr (is_number<T>) {
          return std::optional(static_cast<double>(value));
        } else {
          return std::optional<double>();
        }
      },
      storage_);
}

std::optional<bool> Value::boolean() const {
  if (const bool* value = std::get_if<bool>(&storage_)) return *value;
  return std::nullopt;
}

std::optional<std::string_view> Value::text() const {
  if (const auto* value = std::get_if<std::string>(&storage_)) return *value;
  return std::nullopt;
}

bool Value::operator==(const Value& other) const {
  if (storage_.index() != other.storage_.index()) return false;
  return std::visit(
      [&]<class T>(const T& value) {
        const T& twin = std::get<T>(other.storage_);
        if constexpr (std::is_floating_point_v<T>) {
          return std::memcmp(&value, &twin, sizeof(T)) == 0;
        } else {
          return value == twin;
        }
      },
      storage_);
}

std::string to_string(const Value& value) {
  return std::visit(
      []<class T>(const T& held) -> std::string {
        if constexpr (std::is_same_v<T, std::string>) return quoted(held);
        if constexpr (std::is_same_v<T, bool>) return held ? "true" : "false";
        if constexpr (std::is_same_v<T, Array>) {
          return concat("array of ", held.size(), " ", name_of(held.element_type()));
        }
        if constexpr (std::is_same_v<T, StringArray>) {
          return concat("array of ", held.size(), " text");
        }
        if constexpr (std::is_arithmetic_v<T>) return concat(+held);  // + so that a u8 is no letter
      },
      value.storage());
}

// ---- Metadata
// -------------------------------------------------------------------------------------------

const Value* Metadata::find(std::string_view key) const {
  const auto found = positions_.find(key);
  return found == positions_.end() ? nullptr : &entries_[found->second].value;
}

void Metadata::set(std::string_view key, Value value) {
  const char* defect = name_defect(key, kMaxKeyBytes);
  REALM_CHECK(defect == nullptr, "metadata key ", quoted(key), " ", defect);
  const auto [position, is_new] = positions_.try_emplace(std::string(key), entries_.size());
  if (is_new) {
    entries_.push_back({std::string(key), std::move(value)});
  } else {
    entries_[position->second].value = std::move(value);
  }
}

}  // namespace realm::gguf
