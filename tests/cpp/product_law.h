// The law of quantized products (docs/numerics.md), written down plainly and independently of the
// kernels: what every level, path and layout must equal bit for bit. Integers of a weight are found
// by decoding its blocks with all float scales set to one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "quant/formats.h"

namespace realm::test {

// Random blocks of a format, rows one after another, whose float scales are small numbers.
std::vector<std::byte> random_weight(const Format& format, int64_t rows, int64_t cols,
                                     unsigned seed);

// out[m][n] of x [m][k] and encoded rows [n][k].
std::vector<float> product_by_the_law(const Format& format, const std::vector<std::byte>& weight,
                                      int64_t rows, int64_t cols, const std::vector<float>& x);

// The same in double precision with decoded weights; `magnitude` gets the sums of absolute values.
std::vector<double> product_in_double(const Format& format, const std::vector<std::byte>& weight,
                                      int64_t rows, int64_t cols, const std::vector<float>& x,
                                      std::vector<double>* magnitude = nullptr);

}  // namespace realm::test
