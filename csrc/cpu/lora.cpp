// What adapters add to products. All coefficients first (rank numbers for each row and product),
// then the outputs by ranges of columns: a range takes its output's products in their order, so a
// row's sums depend on its own adapters alone. Little work, such as one decoded row's, stays on the
// calling thread: a fork would cost more than it gains.
#include <algorithm>

#include "cpu/cpu_backend.h"

namespace realm::cpu {

namespace {

constexpr int64_t kRowsAtOnce = 32;
constexpr int64_t kColsAtOnce = 512;
constexpr int64_t kProductsPerTask = 1 << 17;  // multiplications, about 5 us of them

FactorType type_of(const FactorView& factor) {
  if (factor.dtype == DType::kF16) return FactorType::kF16;
  return factor.dtype == DType::kBF16 ? FactorType::kBF16 : FactorType::kF32;
}

const std::byte* at(const FactorView& factor, int64_t row, int64_t col) {
  const int64_t width = factor.dtype == DType::kF32 ? 4 : 2;
  return factor.data + (row * factor.stride + col) * width;
}

int64_t n_rows_of(const LoraProduct& product) {
  return static_cast<int64_t>(product.rows.size());
}

// Parts of one fused matrix: their coefficients are the same.
bool shares_down(const LoraProduct& a, const LoraProduct& b) {
  return a.down.data == b.down.data && a.down.rows == b.down.rows && a.scale == b.scale &&
         a.rows.data() == b.rows.data() && a.rows.size() == b.rows.size();
}

// Pointers to some of the rows of a matrix.
struct RowPointers {
  float* rows[kRowsAtOnce];

  RowPointers(Matrix matrix, std::span<const int32_t> which, int64_t first_col) {
    for (size_t i = 0; i < which.size(); ++i) {
      rows[i] = matrix.data + which[i] * matrix.cols + first_col;
    }
  }
};

// y = rescale * (y - bias) + bias, and y += shift_scale * shift.
void rescale(const LoraProduct& product, float* row, int64_t first_col, int64_t n_cols) {
  const float* factor = product.rescale.data + first_col;
  const float* bias = product.bias.data ? product.bias.data + first_col : nullptr;
  for (int64_t c = 0; c < n_cols; ++c) {
    row[c] = bias ? factor[c] * (row[c] - bias[c]) + bias[c] : factor[c] * row[c];
  }
}

void shift(const LoraProduct& product, float* row, int64_t first_col, int64_t n_cols) {
  const float* values = product.shift.data + first_col;
  for (int64_t c = 0; c < n_cols; ++c) row[c] = row[c] + product.shift_scale * values[c];
}

}  // namespace

void CpuBackend::place_coefficients(std::span<const LoraProduct> products) {
  coefficients_at_.clear();
  int64_t n = 0;
  for (size_t i = 0; i < products.size(); ++i) {
    const bool is_shared = i > 0 && shares_down(products[i - 1], products[i]);
    coefficients_at_.push_back(is_shared ? coefficients_at_.back() : n);
    if (!is_shared) n += n_rows_of(products[i]) * products[i].up.rows;
  }
  if (coefficients_.size() < static_cast<size_t>(n)) coefficients_.resize(static_cast<size_t>(n));
}

void CpuBackend::shrink_block(const LoraProduct& product, int64_t first_row, int64_t n_rows,
                              Matrix in, float* out) {
  const auto which =
      product.rows.subspan(static_cast<size_t>(first_row), static_cast<size_t>(n_rows));
  const RowPointers x(in, which, 0);
  const int64_t rank = product.up.rows;
  kernels_.shrink({type_of(product.down), product.down.data, product.down.stride, rank, in.cols,
                   x.rows, n_rows, product.scale, out + first_row * rank, rank});
}

void CpuBackend::run_add_lora(std::span<const LoraProduct> products, Matrix in) {
  place_coefficients(products);
  struct Task {
    size_t product;
    int64_t first_row;
  };
  thread_local std::vector<Task> tasks;
  tasks.clear();
  int64_t work = 0;
  for (size_t i = 0; i < products.size(); ++i) {
    const LoraProduct& product = products[i];
    const bool is_shared = i > 0 && shares_down(products[i - 1], product);
    if (product.up.rows == 0 || is_shared) continue;
    for (int64_t row = 0; row < n_rows_of(product); row += kRowsAtOnce) tasks.push_back({i, row});
    work += n_rows_of(product) * product.up.rows * in.cols;
  }
  const auto n_tasks = static_cast<int64_t>(tasks.size());
  const int64_t grain = work > 0 ? std::max<int64_t>(1, n_tasks * kProductsPerTask / work) : 1;
  const Task* all = tasks.data();  // the workers' own vectors are others
  pool_->run_ranges(n_tasks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && !cancelled(); ++i) {
      const LoraProduct& product = products[all[i].product];
      const int64_t first = all[i].first_row;
      shrink_block(product, first, std::min(kRowsAtOnce, n_rows_of(product) - first), in,
                   coefficients_.data() + coefficients_at_[all[i].product]);
    }
  });
  expand_all(products);
}

void CpuBackend::run_add_lora_rows(std::span<const LoraProduct> products,
                                   std::span<const int32_t> tokens) {
  place_coefficients(products);
  for (size_t i = 0; i < products.size(); ++i) {
    const LoraProduct& product = products[i];
    float* out = coefficients_.data() + coefficients_at_[i];
    const int64_t rank = product.down.cols;
    for (const int32_t row : product.rows) {
      const std::byte* from = at(product.down, tokens[static_cast<size_t>(row)], 0);
      if (product.down.dtype == DType::kF32) {
        std::copy_n(reinterpret_cast<const float*>(from), rank, out);
      } else if (product.down.dtype == DType::kF16) {
        kernels_.widen_f16(reinterpret_cast<const uint16_t*>(from), out, rank);
      } else {
        kernels_.widen_bf16(reinterpret_cast<const uint16_t*>(from), out, rank);
      }
      kernels_.scale(out, product.scale, rank);
      out += rank;
    }
  }
  expand_all(products);
}

void CpuBackend::expand_all(std::span<const LoraProduct> products) {
  struct Task {
    int64_t first_product, first_col;
  };
  thread_local std::vector<Task> tasks;
  tasks.clear();
  int64_t work = 0;
  for (size_t i = 0; i < products.size(); ++i) {
    const LoraProduct& product = products[i];
    work += n_rows_of(product) * (product.up.rows + 1) * product.out.cols;
    if (i > 0 && products[i - 1].out.data == product.out.data) continue;
    for (int64_t col = 0; col < product.out.cols; col += kColsAtOnce) {
      tasks.push_back({static_cast<int64_t>(i), col});
    }
  }
  const auto n_tasks = static_cast<int64_t>(tasks.size());
  const int64_t grain = work > 0 ? std::max<int64_t>(1, n_tasks * kProductsPerTask / work) : 1;
  const Task* all = tasks.data();
  pool_->run_ranges(n_tasks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && !cancelled(); ++i) {
      const int64_t cols = products[static_cast<size_t>(all[i].first_product)].out.cols;
      expand_columns(products, all[i].first_product, all[i].first_col,
                     std::min(kColsAtOnce, cols - all[i].first_col));
    }
  });
}

// All products of one output, for some of its columns.
void CpuBackend::expand_columns(std::span<const LoraProduct> products, int64_t first_product,
                                int64_t first_col, int64_t n_cols) {
  const float* output = products[static_cast<size_t>(first_product)].out.data;
  for (auto i = static_cast<size_t>(first_product);
       i < products.size() && products[i].out.data == output; ++i) {
    const LoraProduct& product = products[i];
    const int64_t rank = product.up.rows;
    const float* u = coefficients_.data() + coefficients_at_[i];
    const float* gain = product.gain.data ? product.gain.data + first_col : nullptr;
    for (int64_t row = 0; row < n_rows_of(product); row += kRowsAtOnce) {
      const int64_t n = std::min(kRowsAtOnce, n_rows_of(product) - row);
      const auto which = product.rows.subspan(static_cast<size_t>(row), static_cast<size_t>(n));
      const RowPointers out(product.out, which, first_col);
      for (int64_t r = 0; product.rescale.data && r < n; ++r) {
        rescale(product, out.rows[r], first_col, n_cols);
      }
      if (rank > 0) {
        kernels_.expand({type_of(product.up), at(product.up, 0, first_col), product.up.stride, rank,
                         u + row * rank, rank, out.rows, n, n_cols, gain});
      }
      for (int64_t r = 0; product.shift.data && r < n; ++r) {
        shift(product, out.rows[r], first_col, n_cols);
      }
    }
  }
}

}  // namespace realm::cpu
