// JSON from strangers (RFC 8259, read only), as values. Strict: no comments, no trailing commas, no
// key twice in an object, no text that is not UTF-8, no lone surrogates, nothing after the value
// but white space. Time and memory are bounded by the text and the limits; nesting is bounded
// before the stack is. Refusals are kFormat with what was found and the byte offset. Pure
// functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace realm::json {

class Value;
using Array = std::vector<Value>;
using Member = std::pair<std::string, Value>;
using Object = std::vector<Member>;  // in the text's order

// Accessors give no value (or null) when the value is of another kind, so that a caller can name
// the field in its own error.
class Value {
 public:
  using Storage = std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object>;

  Value() = default;
  explicit Value(Storage storage) : storage_(std::move(storage)) {}

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(storage_); }
  std::optional<bool> boolean() const;
  // A number written without fraction and exponent that fits; 1.0 and 1e3 are none.
  std::optional<int64_t> integer() const;
  // Any number.
  std::optional<double> number() const;
  std::optional<std::string_view> text() const;
  const Array* array() const { return std::get_if<Array>(&storage_); }
  const Object* object() const { return std::get_if<Object>(&storage_); }
  // A member of an object; null when this is no object or has none of that name.
  const Value* find(std::string_view key) const;

 private:
  Storage storage_ = nullptr;
};

// "12", "'text'", "an array of 3": for messages, bounded in length.
std::string to_string(const Value& value);

struct Limits {
  int max_depth = 32;
  size_t max_values = size_t{1} << 20;
};

// `subject` is what messages call the text. Throws kFormat.
Value parse(std::string_view text, std::string_view subject, const Limits& limits = {});

}  // namespace realm::json
