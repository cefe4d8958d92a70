// How the vocabulary reads its metadata: a value of the right type, or a refusal that names key and
// value.
#pragma once

#include <optional>
#include <string_view>

#include "base/error.h"
#include "gguf/metadata.h"

namespace realm {

[[noreturn]] inline void refuse(std::string_view key, const gguf::Value& value,
                                std::string_view why) {
  fail(ErrorCode::kFormat, key, " = ", gguf::to_string(value), ": ", why);
}

inline std::optional<bool> read_bool(const gguf::Metadata& metadata, std::string_view key) {
  const gguf::Value* value = metadata.find(key);
  if (value == nullptr) return std::nullopt;
  const auto flag = value->boolean();
  if (!flag) refuse(key, *value, "is no bool");
  return flag;
}

// Empty if there is none.
inline std::string_view read_text(const gguf::Metadata& metadata, std::string_view key) {
  const gguf::Value* value = metadata.find(key);
  if (value == nullptr) return {};
  const auto text = value->text();
  if (!text) refuse(key, *value, "is no text");
  return *text;
}

}  // namespace realm
