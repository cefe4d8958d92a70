// From the bytes of a file's tensor to the factors that are computed with: values checked, rows put
// in the base's order, narrowed to 16 bits where that is exact. Pure functions, called from the
// pool's threads.
#pragma once

#include <string>
#include <vector>

#include "lora/adapter.h"
#include "lora/base_layout.h"
#include "lora/source_tensor.h"

namespace realm::lora {

// Which of a matrix's extents gets another order: the rows of a tensor whose heads are interleaved.
struct Turn {
  bool is_transposed = false;             // swap rows and columns
  const BaseTensor* reordered = nullptr;  // row i is the source's outside_row(i), before the swap
};

// `n` values of a tensor from element `first` on, as f32. They may be of any format.
std::vector<float> values_of(const SourceTensor& tensor, uint64_t first, uint64_t n);

// "value #7 is nan"; empty when all are finite.
std::string defect_of(const SourceTensor& tensor);

// The matrix [rows, cols] of `tensor`, turned.
Factor make_factor(const SourceTensor& tensor, int64_t rows, int64_t cols, const Turn& turn);

// The vector [n] of `tensor`, reordered.
std::vector<float> make_vector(const SourceTensor& tensor, int64_t n, const Turn& turn);

}  // namespace realm::lora
