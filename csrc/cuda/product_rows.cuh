// Which input rows and which weight rows a block of a matrix product works on. blockIdx.z is the
// expert of a bank (0 otherwise); a block whose expert has no such rows returns at once.
#pragma once

#include "cuda/device/language.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

struct ProductRows {
  int64_t first, end;   // rows of the input
  int64_t weight_base;  // the weight row of output column 0
};

REALM_DEVICE ProductRows rows_of(const ProductShape& shape) {
  const int64_t expert = blockIdx.z;
  const int64_t base = shape.first_row + expert * shape.n_out;
  if (!shape.segments) return {0, shape.n_in, base};
  return {shape.segments[expert], shape.segments[expert + 1], base};
}

}  // namespace realm::cuda
