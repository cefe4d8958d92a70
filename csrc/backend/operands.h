// What ops take: views that carry their shapes, weights and the description of a step. A view's
// pointer is an address of the backend that made it (on the CPU and on Metal also a host address).
// Views own nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "backend/kinds.h"
#include "tensor/dtype.h"

namespace realm {

// [rows, cols] f32, dense. Activations are always f32.
struct Matrix {
  float* data = nullptr;
  int64_t rows = 0, cols = 0;

  Matrix first_rows(int64_t n) const { return {data, n, cols}; }
  // The same memory with rows cut into pieces of `width`: [T, H * D] as [T * H, D].
  Matrix as_rows_of(int64_t width) const { return {data, rows * (cols / width), width}; }
};

// [n] f32; data is null when a model does not have it.
struct Vector {
  const float* data = nullptr;
  int64_t n = 0;
};

// Memory of a backend.
class Buffer {
 public:
  virtual ~Buffer() = default;
  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 protected:
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

// A weight matrix as its backend keeps it. A bank of experts is one weight with the experts' rows
// one after another.
class Weight {
 public:
  virtual ~Weight() = default;
  DType dtype() const { return dtype_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }

 protected:
  Weight(DType dtype, int64_t rows, int64_t cols) : dtype_(dtype), rows_(rows), cols_(cols) {}

 private:
  DType dtype_;
  int64_t rows_, cols_;
};

// Some rows of a weight: what linear() multiplies with.
struct WeightRows {
  const Weight* weight;
  int64_t first_row, n_rows;

  WeightRows(const Weight& whole) : weight(&whole), first_row(0), n_rows(whole.rows()) {}
  WeightRows(const Weight& bank, int64_t first, int64_t n)
      : weight(&bank), first_row(first), n_rows(n) {}
};

// One of the products that share an input: out = in * weight^T + bias.
struct Product {
  WeightRows weight;
  Vector bias;
  Matrix out;
};

// A factor of an adapter, [rows, cols] of F32, F16 or BF16; `stride` elements from row to row.
struct FactorView {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0, cols = 0, stride = 0;
};

// What an adapter adds to one product, for some rows of the step. Of each of the rows, in this
// order, as far as the parts are there:
//   out = rescale * (out - bias) + bias
//   out += gain * (up^T (scale * down in))
//   out += shift_scale * shift
struct LoraProduct {
  FactorView down;  // [r, in]; where rows are looked up by token, [V, r]
  FactorView up;    // [r, out]
  float scale = 1, shift_scale = 1;
  Vector gain, rescale, bias, shift;
  std::span<const int32_t> rows;  // ascending
  Matrix out;
};

// Encoded rows in host memory. A backend may keep them as long as it holds `owner`; without one
// they are valid during the call only, to be copied or packed.
struct WeightBytes {
  DType dtype;
  int64_t rows, cols;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

// One layer's keys and values: pages of the backend's page size, whose inner layout is its own
// affair.
struct KvLayer {
  std::byte* data = nullptr;
  KvType type = KvType::kF16;
  int64_t n_kv_heads = 0, head_width = 0;
  int64_t n_pages = 0;
};

// What a sequence's adapters are. No backend looks inside: model/adapter_set.h.
class AdapterSet;

// One sequence's rows in a step: rows first_row .. first_row + n_rows - 1 stand at positions
// first_pos, first_pos + 1,
// ... and `pages[i]` holds the keys and values of the positions from i * page size on.
struct SequenceSpan {
  int32_t first_row = 0, n_rows = 0;
  int32_t first_pos = 0;
  int32_t planned_tokens = 0;  // the length this sequence may reach, fixed for its life
  std::span<const int32_t> pages;
  const AdapterSet* adapters = nullptr;  // null: the base alone
};

// The ragged input of one forward: prefill, chunked prefill, decode and verification alike.
struct StepBatch {
  std::span<const int32_t> tokens;       // [T]
  std::span<const int32_t> positions;    // [T]
  std::span<const SequenceSpan> spans;   // cover the rows 0 .. T - 1 in order
  std::span<const int32_t> rows_wanted;  // whose logits are computed, ascending
  // The same spans with the pages of layers that have a sliding window, where those pages are kept
  // apart (the pages that every window has left behind may then be -1); else empty.
  std::span<const SequenceSpan> window_spans = {};

  int64_t n_rows() const { return static_cast<int64_t>(tokens.size()); }
  // As layers with a sliding window take it.
  StepBatch in_window() const {
    StepBatch step = *this;
    if (!window_spans.empty()) step.spans = window_spans;
    return step;
  }
};

struct AttentionShape {
  int64_t n_heads, n_kv_heads, head_width;
  float scale;
  float softcap = 0;   // 0: none
  int64_t window = 0;  // a row sees itself and the window - 1 positions before; 0: all
};

// cos and sin of every row's angles: [T, half], planned on the host once per step.
struct RopeAngles {
  const float* cos;
  const float* sin;
  int64_t half;      // pairs rotated; the rest of a head stays
  bool interleaved;  // pairs (2i, 2i + 1), else (i, i + half)
};

// The experts chosen for each row, [T, n_used], by descending probability, ties by lower index.
struct Routing {
  int32_t* expert;
  float* weight;
  int64_t n_used;
};

enum class ExpertPart { kGate, kUp, kDown };

// What an adapter adds to one matrix of one expert. `product.rows` are the step's; those of them
// that chose the expert get it. `product.out` is not read.
struct ExpertLora {
  int64_t expert;
  ExpertPart part;
  LoraProduct product;
};

struct ExpertBank {
  const Weight* gate;
  const Weight* up;
  const Weight* down;
  int64_t n_experts;
  std::span<const ExpertLora> lora = {};
};

// Working memory of experts(): for T * n_used rows.
struct ExpertScratch {
  Matrix in, out;   // [T * n_used, E]
  Matrix gate, up;  // [T * n_used, F]
};

}  // namespace realm
