#include "model/hyper_parameters.h"

#include <cmath>

#include "base/error.h"

namespace realm {

const gguf::Value* HyperParameters::find(std::string_view key) const {
  return metadata_.find(prefix_ + std::string(key));
}

void HyperParameters::refuse(std::string_view key, std::string_view why) const {
  const gguf::Value* value = find(key);
  fail(ErrorCode::kFormat, prefix_, key, value ? " is " + gguf::to_string(*value) : " is missing", ": ", why);
}

const gguf::Value& HyperParameters::required(std::string_view key) const {
  const gguf::Value* value = find(key);
  if (!value) refuse(key, "the model cannot be computed without it");
  return *value;
}

int64_t HyperParameters::integer_of(const gguf::Value& value, std::string_view key, int64_t least,
                                    int64_t most) const {
  const auto number = value.integer();
  if (!number || *number < least || *number > most) {
    refuse(key, concat("must be one integer from ", least, " to ", most));
  }
  return *number;
}

float HyperParameters::positive_of(const gguf::Value& value, std::string_view key) const {
  const auto number = value.number();
  const float narrow = number ? static_cast<float>(*number) : 0.0f;
  if (!(narrow > 0) || !std::isfinite(narrow)) refuse(key, "must be a positive, finite number");
  return narrow;
}

std::optional<int64_t> HyperParameters::integer(std::string_view key, int64_t least, int64_t most) const {
  const gguf::Value* value = find(key);
  if (!value) return std::nullopt;
  return integer_of(*value, key, least, most);
}

int64_t HyperParameters::required_integer(std::string_view key, int64_t least, int64_t most) const {
  return integer_of(required(key), key, least, most);
}

std::optional<float> HyperParameters::positive(std::string_view key) const {
  const gguf::Value* value = find(key);
  if (!value) return std::nullopt;
  return positive_of(*value, key);
}

float HyperParameters::required_positive(std::string_view key) const {
  return positive_of(required(key), key);
}

std::optional<std::string_view> HyperParameters::text(std::string_view key) const {
  const gguf::Value* value = find(key);
  if (!value) return std::nullopt;
  if (!value->text()) refuse(key, "must be a text");
  return value->text();
}

}  // namespace realm
