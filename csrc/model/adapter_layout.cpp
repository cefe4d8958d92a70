#include "model/adapter_layout.h"

#include <algorithm>
#include <string_view>

namespace realm {

namespace {

using lora::BaseKind;
using lora::BaseTensor;

constexpr std::string_view kWeight = ".weight";

std::string_view leaf_of(std::string_view name) {
  return name.substr(name.rfind('.') + 1);
}

// Tensors of a model that no adapter changes: tables of positions and frequencies.
bool is_table(std::string_view name) {
  return name.starts_with("rope_") || name == "position_embd";
}

class LayoutMaker {
 public:
  explicit LayoutMaker(const ModelConfig& config)
      : config_(config), arch_(*config.architecture), arch_name_(arch_.name) {}

  void add(const gguf::TensorInfo& info) {
    std::string_view name = info.name;
    if (!name.ends_with(kWeight)) return;
    name.remove_suffix(kWeight.size());
    if (is_table(name)) return;
    BaseTensor tensor;
    tensor.name = name;
    tensor.dtype = info.dtype;
    set_shape(tensor, info.shape);
    set_order(tensor);
    tensors_.push_back(std::move(tensor));
  }

  // A tied model has one table for both ends; adapters see them apart.
  std::vector<BaseTensor> finish() {
    const auto find = [&](std::string_view name) {
      return std::ranges::find(tensors_, name, &BaseTensor::name);
    };
    const auto embedding = find("token_embd");
    if (find("output") == tensors_.end() && embedding != tensors_.end()) {
      BaseTensor head = *embedding;
      head.name = "output";
      head.kind = BaseKind::kLinear;
      head.stored_in = "token_embd";
      tensors_.push_back(std::move(head));
    }
    return std::move(tensors_);
  }

 private:
  void set_shape(BaseTensor& tensor, const Shape& shape) const {
    const auto extent = [&](int i) { return static_cast<int64_t>(shape[i]); };
    const bool is_shared_router = leaf_of(tensor.name) == "ffn_gate_inp_shexp";
    tensor.cols = static_cast<int64_t>(shape.row_elements());
    tensor.rows = static_cast<int64_t>(shape.rows());
    if (tensor.name == "token_embd") {
      tensor.kind = BaseKind::kEmbedding;
    } else if (shape.rank() == 3) {
      tensor.n_experts = extent(0);
      tensor.rows = extent(1);
    } else if (shape.rank() == 1 && !is_shared_router) {
      tensor.kind = BaseKind::kVector;
      tensor.rows = tensor.cols;
      tensor.cols = 1;
    }
  }

  void set_order(BaseTensor& tensor) const {
    const std::string_view leaf = leaf_of(tensor.name);
    if (arch_.rope_interleaved && leaf == "attn_q") tensor.interleaved_heads = config_.n_heads;
    if (arch_.rope_interleaved && leaf == "attn_k") tensor.interleaved_heads = config_.n_kv_heads;
    const bool is_matrix = tensor.kind == BaseKind::kLinear;
    tensor.is_transposed_outside = arch_name_ == "gpt2" && is_matrix && tensor.name != "output";
    // Converters store gemma's norms with the one that its forward adds.
    const bool is_vector = tensor.kind == BaseKind::kVector;
    if (is_vector && arch_name_.starts_with("gemma")) tensor.stored_offset = 1;
  }

  const ModelConfig& config_;
  const Architecture& arch_;
  const std::string_view arch_name_;
  std::vector<BaseTensor> tensors_;
};

}  // namespace

lora::BaseLayout adapter_layout(std::shared_ptr<const gguf::GgufFile> file,
                                const ModelConfig& config) {
  LayoutMaker maker(config);
  for (const gguf::TensorInfo& info : file->tensors()) maker.add(info);
  const auto decode_rows = [file](const BaseTensor& tensor, int64_t first, int64_t n, float* out) {
    const gguf::TensorInfo* info = file->find(tensor.values_name() + std::string(kWeight));
    // A vector is one row of the file, and its elements are the layout's rows.
    if (tensor.kind == BaseKind::kVector) {
      std::vector<float> values(static_cast<size_t>(tensor.rows));
      file->read_f32(*info, values.data());
      std::copy_n(values.begin() + first, n, out);
      return;
    }
    file->read_rows_f32(*info, static_cast<uint64_t>(first), static_cast<uint64_t>(n), out);
  };
  const auto decode_bias = [file](const BaseTensor& tensor) {
    std::vector<float> values;
    const gguf::TensorInfo* info = file->find(tensor.name + ".bias");
    if (!info) return values;
    values.resize(info->shape.elements());
    file->read_f32(*info, values.data());
    return values;
  };
  return {config.architecture->name, config.n_layers, maker.finish(), decode_rows, decode_bias};
}

}  // namespace realm
