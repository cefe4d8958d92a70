#include "model/hyper_parameters.h"

#include <cmath>

#include "base/error.h"

namespace realm {

const gguf::Value* HyperParameters::find(std::string_view key) const {
  return metadata_.find(prefix_ + std::string(key));
}

void HyperParameters::refuse(std::string_view key, std::string_view why) const {
  const gguf::Value* value = find(key);
  fail(ErrorCode::kFormat, prefix_, key, value ? " is " + gguf::to_string(*value) : " is missing",
       ": ", why);
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

std::optional<int64_t> HyperParameters::integer(std::string_view key, int64_t least,
                                                int64_t most) const {
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

std::vector<bool> HyperParameters::layer_pattern(std::string_view key, int64_t n_layers,
                                                 int64_t every) const {
  std::vector<bool> layers(static_cast<size_t>(n_layers));
  const gguf::Value* value = find(key);
  const gguf::Array* flags = value ? value->array() : nullptr;
  if (flags &&
      (flags->element_type() != gguf::ValueType::kBool || flags->size() != layers.size())) {
    refuse(key, concat("must be ", n_layers, " bools, one for each layer"));
  }
  if (value && !flags) every = integer_of(*value, key, 0, INT64_MAX);
  for (size_t i = 0; i < layers.size(); ++i) {
    const bool is_nth = every > 0 && (static_cast<int64_t>(i) + 1) % every == 0;
    layers[i] = flags ? flags->at<bool>(i) : !is_nth;
  }
  return layers;
}

std::optional<std::string_view> HyperParameters::text(std::string_view key) const {
  const gguf::Value* value = find(key);
  if (!value) return std::nullopt;
  if (!value->text()) refuse(key, "must be a text");
  return value->text();
}

void HyperParameters::require_not_false(std::string_view key, std::string_view why) const {
  const gguf::Value* value = find(key);
  if (value && value->boolean() != true) refuse(key, why);
}

}  // namespace realm
