#include "lora/base_layout.h"

#include <utility>

namespace realm::lora {

BaseLayout::BaseLayout(std::string architecture, int64_t n_layers, std::vector<BaseTensor> tensors,
                       DecodeRows decode_rows, DecodeBias decode_bias)
    : architecture_(std::move(architecture)),
      n_layers_(n_layers),
      tensors_(std::move(tensors)),
      decode_rows_(std::move(decode_rows)),
      decode_bias_(std::move(decode_bias)) {
  for (uint32_t i = 0; i < tensors_.size(); ++i) by_name_.emplace(tensors_[i].name, i);
}

std::optional<uint32_t> BaseLayout::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return std::nullopt;
  return found->second;
}

int64_t outside_row(const BaseTensor& tensor, int64_t row) {
  if (tensor.interleaved_heads == 0) return row;
  const int64_t width = tensor.rows / tensor.interleaved_heads;
  const int64_t head = row / width, within = row % width;
  return head * width + within % 2 * (width / 2) + within / 2;
}

}  // namespace realm::lora
