// A base of two layers whose weights are small integers, and adapters for it made in memory.
#pragma once

#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/half.h"
#include "lora/adapter_builder.h"
#include "lora/adapter_source.h"
#include "lora/base_layout.h"

namespace realm::test {

constexpr int64_t kWidth = 8, kFeedForward = 12, kVocab = 10, kExperts = 3;

// Element `col` of row `row` of a tensor: something that tells rows, columns and tensors apart.
inline float base_value(const lora::BaseTensor& tensor, int64_t row, int64_t col) {
  const auto salt = static_cast<int64_t>(tensor.values_name().size());
  return static_cast<float>((row * 7 + col * 3 + salt) % 11 - 5);
}

inline std::shared_ptr<const lora::BaseLayout> make_base() {
  using lora::BaseKind;
  std::vector<lora::BaseTensor> tensors;
  const auto add = [&](std::string name, int64_t rows, int64_t cols) -> lora::BaseTensor& {
    lora::BaseTensor tensor;
    tensor.name = std::move(name);
    tensor.rows = rows;
    tensor.cols = cols;
    tensors.push_back(tensor);
    return tensors.back();
  };
  add("token_embd", kVocab, kWidth).kind = BaseKind::kEmbedding;
  for (const char* layer : {"blk.0.", "blk.1."}) {
    add(std::string(layer) + "attn_q", kWidth, kWidth).interleaved_heads = 2;
    add(std::string(layer) + "attn_k", kWidth, kWidth).interleaved_heads = 2;
    add(std::string(layer) + "attn_v", kWidth, kWidth);
    add(std::string(layer) + "attn_output", kWidth, kWidth);
    add(std::string(layer) + "ffn_up", kFeedForward, kWidth);
    add(std::string(layer) + "ffn_down", kWidth, kFeedForward);
    add(std::string(layer) + "ffn_up_exps", kFeedForward, kWidth).n_experts = kExperts;
    add(std::string(layer) + "attn_norm", kWidth, 1).kind = BaseKind::kVector;
  }
  lora::BaseTensor& head = add("output", kVocab, kWidth);
  head.stored_in = "token_embd";
  const auto decode = [](const lora::BaseTensor& tensor, int64_t first, int64_t n, float* out) {
    for (int64_t row = first; row < first + n; ++row) {
      for (int64_t col = 0; col < tensor.cols; ++col) *out++ = base_value(tensor, row, col);
    }
  };
  const auto bias = [](const lora::BaseTensor& tensor) {
    return tensor.name.ends_with("attn_v") ? std::vector<float>(kWidth, 2.0f)
                                           : std::vector<float>();
  };
  return std::make_shared<const lora::BaseLayout>("llama", 2, std::move(tensors), decode, bias);
}

// Tensors by name, each filled with values that differ; then an adapter of them.
class AdapterMaker {
 public:
  AdapterMaker() = default;
  // A copy's tensors have the copy's values, not those of an original that may be gone.
  AdapterMaker(const AdapterMaker& other)
      : values_(other.values_), names_(other.names_), config_(other.config_) {
    for (size_t i = 0; i < names_.size(); ++i) {
      const auto theirs = std::as_bytes(std::span(other.values_[i]));
      if (names_[i].bytes.data() != theirs.data()) continue;  // bytes of the test's own
      names_[i].bytes = std::as_bytes(std::span(values_[i])).first(names_[i].bytes.size());
    }
  }
  AdapterMaker& operator=(const AdapterMaker&) = delete;

  AdapterMaker& add(const std::string& name, std::vector<uint64_t> extents) {
    const Shape shape = *Shape::checked(extents);
    std::vector<float> values(shape.elements());
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = 0.25f * static_cast<float>((i * 5 + names_.size() * 3 + 1) % 9) - 1.0f;
    }
    return add(name, std::move(extents), std::move(values));
  }

  AdapterMaker& add(const std::string& name, std::vector<uint64_t> extents,
                    std::vector<float> values) {
    values_.push_back(std::move(values));
    const auto bytes = std::as_bytes(std::span(values_.back()));
    names_.push_back({name, DType::kF32, *Shape::checked(extents), bytes, {}});
    return *this;
  }

  // Both factors of a module [rows, cols], of rank `r`.
  AdapterMaker& add_pair(const std::string& module, uint64_t rows, uint64_t cols, uint64_t r = 2) {
    return add(module + ".lora_A.weight", {r, cols}).add(module + ".lora_B.weight", {rows, r});
  }

  AdapterMaker& config(std::string text) {
    config_ = std::move(text);
    return *this;
  }

  lora::SourceTensor& last() { return names_.back(); }
  std::vector<float>& last_values() { return values_.back(); }

  lora::AdapterSource source() const {
    return lora::adapter_from_tensors(names_, nullptr, config_);
  }

  std::shared_ptr<const lora::Adapter> build(const lora::BaseLayout& base,
                                             const lora::BuildOptions& options = {}) const {
    return lora::build_adapter(source(), base, options);
  }

 private:
  std::deque<std::vector<float>> values_;  // whose bytes do not move
  std::vector<lora::SourceTensor> names_;
  std::optional<std::string> config_;
};

}  // namespace realm::test
