#include "lora/dora.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace realm::lora {

namespace {

void add_scaled(float* out, const float* in, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] += factor * in[i];
}

}  // namespace

void add_product(const Delta& delta, bool is_embedding, int64_t first_row, int64_t n_rows,
                 float factor, float* rows) {
  const int64_t r = delta.rank, cols = delta.right.cols();
  // coefficients[j][i] of the rows first_row + i
  std::vector<float> right(static_cast<size_t>(cols)),
      left(static_cast<size_t>(std::max(delta.left.cols(), r)));
  std::vector<float> coefficients(static_cast<size_t>(r * n_rows));
  for (int64_t j = 0; j < (is_embedding ? n_rows : r); ++j) {
    delta.left.read_row(is_embedding ? first_row + j : j, left.data());
    for (int64_t i = 0; i < (is_embedding ? r : n_rows); ++i) {
      const int64_t at = is_embedding ? i * n_rows + j : j * n_rows + i;
      coefficients[static_cast<size_t>(at)] =
          left[static_cast<size_t>(is_embedding ? i : first_row + i)];
    }
  }
  const float scale = factor * delta.scale;
  for (int64_t j = 0; j < r; ++j) {
    delta.right.read_row(j, right.data());
    for (int64_t i = 0; i < n_rows; ++i) {
      add_scaled(rows + i * cols, right.data(),
                 scale * coefficients[static_cast<size_t>(j * n_rows + i)], cols);
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
