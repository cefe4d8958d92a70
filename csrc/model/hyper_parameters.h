// Reading a model's hyper-parameters from metadata: each is present, of the right kind and in its
// range, or the file is refused with a FormatError that names the key and the value. Keys are given
// without the architecture's prefix.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/metadata.h"

namespace realm {

class HyperParameters {
 public:
  HyperParameters(const gguf::Metadata& metadata, std::string_view architecture)
      : metadata_(metadata), prefix_(std::string(architecture) + ".") {}

  std::optional<int64_t> integer(std::string_view key, int64_t least, int64_t most) const;
  int64_t required_integer(std::string_view key, int64_t least, int64_t most) const;
  std::optional<float> positive(std::string_view key) const;
  float required_positive(std::string_view key) const;
  std::optional<std::string_view> text(std::string_view key) const;
  // Refuses a key that is there and is not true, because of `why`.
  void require_not_false(std::string_view key, std::string_view why) const;
  // Which layers a pattern names: an array of one bool for each, or a number n: all but each n-th,
  // and all if n is 0. `every` is that number where the file does not say.
  std::vector<bool> layer_pattern(std::string_view key, int64_t n_layers, int64_t every) const;

  // Throws kFormat about one key of this model: "llama.rope.freq_base is 0: <why>".
  [[noreturn]] void refuse(std::string_view key, std::string_view why) const;

 private:
  const gguf::Value* find(std::string_view key) const;
  const gguf::Value& required(std::string_view key) const;
  int64_t integer_of(const gguf::Value& value, std::string_view key, int64_t least,
                     int64_t most) const;
  float positive_of(const gguf::Value& value, std::string_view key) const;

  const gguf::Metadata& metadata_;
  std::string prefix_;
};

}  // namespace realm
