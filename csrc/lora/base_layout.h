// What an adapter may know of the model it adapts: the names, shapes, types and row orders of the
// base's tensors, as its GGUF file has them, and their decoded values. model/ fills it
// (model/adapter_layout.h). Immutable once filled; share it between threads freely.
//
// A tensor is a matrix [rows, cols] that maps `cols` inputs to `rows` outputs, a bank of such
// matrices (experts), or a vector. The token embedding is [V, E]: its rows are looked up.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace realm::lora {

enum class BaseKind { kLinear, kEmbedding, kVector };

struct BaseTensor {
  std::string name;  // without ".weight": "blk.0.attn_q"
  BaseKind kind = BaseKind::kLinear;
  DType dtype = DType::kF32;
  int64_t rows = 0, cols = 0;  // of one expert's matrix; a vector is [n, 1]
  int64_t n_experts = 0;       // 0: no bank
  // Above 0: this many heads' rows are stored pair by pair, (2i, 2i + 1), where transformers has
  // the halves (i, i + width / 2). Adapters in transformers' order follow.
  int64_t interleaved_heads = 0;
  bool is_transposed_outside = false;  // transformers keeps this weight as [in, out]
  float stored_offset = 0;             // the file's values are transformers' plus this
  // The tensor that holds the values, when it is another's: the head of a tied model.
  std::string stored_in;

  int64_t n_matrices() const { return n_experts > 0 ? n_experts : 1; }
  const std::string& values_name() const { return stored_in.empty() ? name : stored_in; }
};

class BaseLayout {
 public:
  // Decodes rows of the tensor that holds `tensor`'s values; a bank's rows follow one another.
  using DecodeRows =
      std::function<void(const BaseTensor& tensor, int64_t first_row, int64_t n_rows, float* out)>;
  // The bias of a tensor, in the file's order; empty when it has none.
  using DecodeBias = std::function<std::vector<float>(const BaseTensor& tensor)>;

  BaseLayout(std::string architecture, int64_t n_layers, std::vector<BaseTensor> tensors,
             DecodeRows decode_rows, DecodeBias decode_bias);

  const std::string& architecture() const { return architecture_; }
  int64_t n_layers() const { return n_layers_; }
  const std::vector<BaseTensor>& tensors() const { return tensors_; }
  // The position in tensors() of one without ".weight"; none when there is no such tensor.
  std::optional<uint32_t> find(std::string_view name) const;

  void decode_rows(const BaseTensor& tensor, int64_t first_row, int64_t n_rows, float* out) const {
    decode_rows_(tensor, first_row, n_rows, out);
  }
  std::vector<float> bias(const BaseTensor& tensor) const { return decode_bias_(tensor); }

 private:
  std::string architecture_;
  int64_t n_layers_;
  std::vector<BaseTensor> tensors_;
  std::map<std::string, uint32_t, std::less<>> by_name_;
  DecodeRows decode_rows_;
  DecodeBias decode_bias_;
};

// Where row `row` of a tensor's file order stands in transformers' order.
int64_t outside_row(const BaseTensor& tensor, int64_t row);

}  // namespace realm::lora
