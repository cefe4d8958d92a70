// An adapter that fits its base, complete and checked: what each of the base's tensors gets added
// or is replaced by, in the base's own row order. Made by adapter_builder.h, never changed
// afterwards; share it between threads freely.
//
// The change of a matrix W is
//   scale * left right                              LoRA
//   gain * (W + scale * left right) - W             DoRA, gain = magnitude / |row of the sum|
// and that of a composition is the sum of its adapters' changes, each times its request's scale.
// With this DoRA's change too is linear in the request's scale: 0 is the base, 1 is the adapter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/sha256.h"
#include "lora/base_layout.h"

namespace realm::lora {

// A dense matrix of F32, F16 or BF16. Values of F32 files that a 16-bit type holds exactly are
// kept in it.
class Factor {
 public:
  Factor() = default;
  Factor(DType dtype, int64_t rows, int64_t cols);

  DType dtype() const { return dtype_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  uint64_t bytes() const;
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  // Row `row`, or some columns of it, widened to f32, exactly.
  void read_row(int64_t row, float* out) const;
  void read(int64_t row, int64_t first_col, int64_t n_cols, float* out) const;

 private:
  DType dtype_ = DType::kF32;
  int64_t rows_ = 0, cols_ = 0;
  std::unique_ptr<std::byte[]> data_;
};

struct Delta {
  uint32_t tensor = 0;  // in BaseLayout::tensors()
  int64_t expert = 0;   // of a bank
  int64_t rank = 0;     // 0: the bias alone changes
  float scale = 1;      // alpha / r, or as the adapter says
  Factor right;         // [r, cols]
  Factor left;          // [r, rows], of an embedding [rows, r]: its rows are looked up
  std::vector<float> magnitude, gain;  // DoRA: [rows]; else empty
  std::vector<float> bias;             // [rows], added to the outputs; empty: none
};

// A weight that takes the place of the base's: modules_to_save.
struct Saved {
  uint32_t tensor = 0;
  int64_t expert = 0;
  Factor weight;  // [rows, cols]
};

struct AppliedTensor {
  std::string tensor;  // the adapter's name
  std::string base;    // the base's
  std::string part;    // "A", "B", "magnitude", "bias", "alpha", "weight", "base copy"
};

struct RefusedTensor {
  std::string tensor;
  std::string reason;
};

struct AdapterReport {
  std::vector<AppliedTensor> applied;
  std::vector<RefusedTensor> refused;
  int64_t rank = 0;  // the largest
  double scale = 0;  // that most modules have
  std::string content_hash;
};

class Adapter {
 public:
  Adapter(std::vector<Delta> deltas, std::vector<Saved> saved, const BaseLayout& base,
          AdapterReport report);

  // What remains to be known once the factors and weights lie elsewhere: everything but those.
  std::shared_ptr<const Adapter> without_values() const;

  // By tensor, then expert.
  const std::vector<Delta>& deltas() const { return deltas_; }
  const std::vector<Saved>& saved() const { return saved_; }
  const AdapterReport& report() const { return report_; }
  // SHA-256 of everything that the adapter adds to or replaces in its base: equal contents, equal
  // identity, wherever they came from.
  const Sha256Digest& identity() const { return identity_; }
  uint64_t bytes() const { return bytes_; }

 private:
  Adapter() = default;

  std::vector<Delta> deltas_;
  std::vector<Saved> saved_;
  AdapterReport report_;
  Sha256Digest identity_{};
  uint64_t bytes_ = 0;
};

// Adapters in the order given, each with its scale.
using ScaledAdapters = std::vector<std::pair<std::shared_ptr<const Adapter>, float>>;

}  // namespace realm::lora
