#include "lora/dora.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/float_rows.h"

namespace realm::lora {

namespace {

// So many columns are added at a time: what they take of the right factor stays in a near cache
// while every row of the output meets it.
constexpr int64_t kColumnsTogether = 256;

}  // namespace

void add_product(const Delta& delta, bool is_embedding, int64_t first_row, int64_t n_rows,
                 float factor, float* rows) {
  const int64_t r = delta.rank, cols = delta.right.cols();
  // coefficients[i][j] of the rows first_row + i
  std::vector<float> coefficients(static_cast<size_t>(r * n_rows));
  std::vector<float> left(static_cast<size_t>(is_embedding ? 0 : n_rows));
  for (int64_t i = 0; is_embedding && i < n_rows; ++i) {
    delta.left.read_row(first_row + i, coefficients.data() + i * r);
  }
  for (int64_t j = 0; !is_embedding && j < r; ++j) {
    delta.left.read(j, first_row, n_rows, left.data());
    for (int64_t i = 0; i < n_rows; ++i) {
      coefficients[static_cast<size_t>(i * r + j)] = left[static_cast<size_t>(i)];
    }
  }
  const float scale = factor * delta.scale;
  for (float& coefficient : coefficients) coefficient = scale * coefficient;
  std::vector<float> right(static_cast<size_t>(r * std::min(kColumnsTogether, cols)));
  for (int64_t first = 0; first < cols; first += kColumnsTogether) {
    const int64_t n = std::min(kColumnsTogether, cols - first);
    for (int64_t j = 0; j < r; ++j) delta.right.read(j, first, n, right.data() + j * n);
    for (int64_t i = 0; i < n_rows; ++i) {
      float_rows().add_scaled(rows + i * cols + first, right.data(), coefficients.data() + i * r,
                              static_cast<int>(r), n);
    }
  }
}

std::vector<float> dora_gain(const BaseLayout& base, const BaseTensor& target, const Delta& delta) {
  const int64_t rows_at_once = std::max<int64_t>(1, (int64_t{1} << 18) / target.cols);
  std::vector<float> gain(static_cast<size_t>(target.rows));
  std::vector<float> rows(static_cast<size_t>(std::min(rows_at_once, target.rows) * target.cols));
  for (int64_t first = 0; first < target.rows; first += rows_at_once) {
    const int64_t n = std::min(rows_at_once, target.rows - first);
    base.decode_rows(target, delta.expert * target.rows + first, n, rows.data());
    add_product(delta, false, first, n, 1.0f, rows.data());
    for (int64_t i = 0; i < n; ++i) {
      double squares = 0;
      for (int64_t c = 0; c < target.cols; ++c) {
        const double value = rows[static_cast<size_t>(i * target.cols + c)];
        squares += value * value;
      }
      const auto row = static_cast<size_t>(first + i);
      gain[row] = static_cast<float>(delta.magnitude[row] / std::sqrt(squares));
      if (!std::isfinite(gain[row])) {
        fail(ErrorCode::kAdapter, "row ", row, " of the adapted weight has length ",
             std::sqrt(squares), ", which DoRA divides by");
      }
    }
  }
  return gain;
}

}  // namespace realm::lora
