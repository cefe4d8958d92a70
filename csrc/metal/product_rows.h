// Which input rows and which weight rows a threadgroup of a matrix product works on. The grid's
// third dimension is the expert of a bank (0 otherwise); a threadgroup whose expert has no such
// rows returns at once.
#pragma once

#include "metal/device/language.h"

struct ProductRows {
  long first, end;   // rows of the input
  long weight_base;  // the weight row of output column 0
};

static inline ProductRows rows_of(constant ProductParams& p, device const int* segments,
                                  uint expert) {
  const long base = p.first_row + long(expert) * p.n_out;
  if (!p.has_segments) return {0, p.n_in, base};
  return {segments[expert], segments[expert + 1], base};
}
