// What adapters add to products: coefficients first (rank numbers for each row and product), then
// the outputs from them, each output's products in their order, so a row's sums depend on its own
// adapters alone. Where adapters have rows of their own, as when every sequence has another one, a
// thread takes all that concerns some rows of an output, and reads factors in the order in which
// they lie in memory. Else all coefficients come before all outputs, which get their additions
// piece by piece as the products are written, or afterwards by ranges of columns. Little work, such
// as one decoded row's, stays on the calling thread: a fork would cost more than it gains.
#include <algorithm>
#include <tuple>

#include "cpu/cpu_backend.h"

namespace realm::cpu {

namespace {

constexpr int64_t kRowsAtOnce = 64;
constexpr int64_t kColsAtOnce = 480;
constexpr int64_t kRanksAtOnce = 8;            // of a factor that few rows share
constexpr int64_t kRowsSharing = 8;            // that make a factor cost more to use than to read
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

// Past the last product of the output that the product `first` has.
size_t end_of_output(std::span<const LoraProduct> products, size_t first) {
  size_t end = first;
  while (end < products.size() && products[end].out.data == products[first].out.data) ++end;
  return end;
}

// Products of the same rows of one output.
struct Chain {
  size_t first, end;
};

// Fills `chains` if every row of an output belongs to one of them and no two share coefficients.
bool find_chains(std::span<const LoraProduct> products, std::vector<Chain>& chains) {
  chains.clear();
  for (size_t i = 0; i < products.size(); ++i) {
    const LoraProduct& product = products[i];
    if (product.rows.empty()) return false;
    if (i > 0 && products[i - 1].out.data == product.out.data) {
      const LoraProduct& before = products[i - 1];
      if (shares_down(before, product)) return false;
      if (std::ranges::equal(before.rows, product.rows)) {
        chains.back().end = i + 1;
        continue;
      }
      if (before.rows.back() >= product.rows.front()) return false;
    } else if (i > 0 && shares_down(products[i - 1], product)) {
      return false;
    }
    chains.push_back({i, i + 1});
  }
  // An adapter's factors lie one behind the other.
  std::ranges::stable_sort(chains, {},
                           [&](const Chain& chain) { return products[chain.first].rows.front(); });
  return true;
}

// How many of `n` tasks are worth a fork, when all of them make `work` multiplications.
int64_t grain_of(int64_t n, int64_t work) {
  return work > 0 ? std::max<int64_t>(1, n * kProductsPerTask / work) : 1;
}

// Pointers to some rows, in memory that begins with `first_row`.
struct RowPointers {
  float* rows[kRowsAtOnce];

  RowPointers(float* data, int64_t stride, int64_t first_row, std::span<const int32_t> which) {
    for (size_t i = 0; i < which.size(); ++i) rows[i] = data + (which[i] - first_row) * stride;
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

void CpuBackend::shrink(const LoraProduct& product, Coefficients some, Matrix in, float* out) {
  const int64_t rank = product.up.rows, end = some.first_row + some.n_rows;
  for (int64_t row = some.first_row; row < end && some.n_ranks > 0; row += kRowsAtOnce) {
    const int64_t n = std::min(kRowsAtOnce, end - row);
    const auto which = product.rows.subspan(static_cast<size_t>(row), static_cast<size_t>(n));
    const RowPointers x(in.data, in.cols, 0, which);
    kernels_.shrink({type_of(product.down), at(product.down, some.first_rank, 0),
                     product.down.stride, some.n_ranks, in.cols, x.rows, n, product.scale,
                     out + row * rank + some.first_rank, rank});
  }
}

void CpuBackend::run_add_lora(std::span<const LoraProduct> products, Matrix in) {
  place_coefficients(products);
  thread_local std::vector<Chain> chains;
  if (find_chains(products, chains) && chains.size() >= static_cast<size_t>(pool_->n_threads())) {
    int64_t work = 0;
    for (const LoraProduct& product : products) {
      work += n_rows_of(product) * product.up.rows * (in.cols + product.out.cols);
    }
    const Chain* all = chains.data();  // the workers' own vectors are others
    const auto n = static_cast<int64_t>(chains.size());
    pool_->run_ranges(n, grain_of(n, work), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end && !cancelled(); ++i) {
        for (size_t p = all[i].first; p < all[i].end; ++p) {
          shrink(products[p], {0, n_rows_of(products[p]), 0, products[p].up.rows}, in,
                 coefficients_.data() + coefficients_at_[p]);
        }
        const Matrix& out = products[all[i].first].out;
        expand_piece(products, all[i].first, all[i].end,
                     {out.data, out.cols, 0, out.rows, 0, out.cols});
      }
    });
    return;
  }
  shrink_all(products, in);
  expand_all(products);
}

// Where many rows share factors, outputs get their additions before they are written: a pass over
// outputs that have left the caches would cost more than the multiplications. Few rows take the
// time in which their factors come from memory, and read them in an order of their own.
void CpuBackend::run_linear_with_lora(std::span<const Product> products,
                                      std::span<const LoraProduct> additions, Matrix in) {
  class Adder final : public OutputCompletion {
   public:
    Adder(CpuBackend& backend, std::span<const LoraProduct> additions)
        : backend_(backend), additions_(additions) {}

    void complete(const Product& product, const OutputPiece& piece) override {
      size_t first = 0;
      while (first < additions_.size() && additions_[first].out.data != product.out.data) ++first;
      if (first == additions_.size()) return;
      backend_.path_counts_.added.fetch_add(1, std::memory_order_relaxed);
      backend_.expand_piece(additions_, first, end_of_output(additions_, first), piece);
    }

   private:
    CpuBackend& backend_;
    const std::span<const LoraProduct> additions_;
  };
  int64_t n_rows = 0;
  for (const LoraProduct& addition : additions) n_rows += n_rows_of(addition);
  const bool shared = n_rows >= kRowsSharing * static_cast<int64_t>(additions.size());
  if (activation_kind_ == ActivationKind::kF32) {
    run_reference_linear(products, in);
    return run_add_lora(additions, in);
  }
  if (in.rows <= kMaxFusedInput || !shared) {
    multiply(products, in, {.is_read_soon = true});
    return run_add_lora(additions, in);
  }
  place_coefficients(additions);
  quantize_and_shrink(products, additions, in);
  Adder adder(*this, additions);
  multiply_quantized(products, {.completion = &adder});
}

// Both while the rows are in L2.
void CpuBackend::quantize_and_shrink(std::span<const Product> products,
                                     std::span<const LoraProduct> additions, Matrix in) {
  constexpr int64_t kRowsTogether = 2 * kIntegerRows;
  activations_.begin(panel_kernels_, in, needs_of(products));
  pool_->run((in.rows + kRowsTogether - 1) / kRowsTogether, [&](int64_t task) {
    if (cancelled()) return;
    const int64_t first = task * kRowsTogether, end = std::min(first + kRowsTogether, in.rows);
    activations_.quantize_rows(panel_kernels_, first, end);
    for (size_t i = 0; i < additions.size(); ++i) {
      const LoraProduct& addition = additions[i];
      if (i > 0 && shares_down(additions[i - 1], addition)) continue;
      const auto from = std::ranges::lower_bound(addition.rows, first);
      const auto to = std::ranges::lower_bound(from, addition.rows.end(), end);
      shrink(addition, {from - addition.rows.begin(), to - from, 0, addition.up.rows}, in,
             coefficients_.data() + coefficients_at_[i]);
    }
  });
}

// Few rows take the time in which a factor comes from memory: threads share its ranks.
void CpuBackend::shrink_all(std::span<const LoraProduct> products, Matrix in) {
  struct Task {
    size_t product;
    Coefficients some;
  };
  thread_local std::vector<Task> tasks;
  tasks.clear();
  int64_t work = 0;
  for (size_t i = 0; i < products.size(); ++i) {
    if (i > 0 && shares_down(products[i - 1], products[i])) continue;
    const int64_t n_rows = n_rows_of(products[i]), rank = products[i].up.rows;
    const int64_t ranks = n_rows <= kRowsAtOnce ? kRanksAtOnce : rank;
    for (int64_t row = 0; row < n_rows; row += kRowsAtOnce) {
      const int64_t n = std::min(kRowsAtOnce, n_rows - row);
      for (int64_t first = 0; first < rank; first += ranks) {
        tasks.push_back({i, {row, n, first, std::min(ranks, rank - first)}});
      }
    }
    work += n_rows * rank * in.cols;
  }
  // Products of the same rows one after another: the first brings those into L2.
  std::ranges::sort(tasks, {}, [&](const Task& task) {
    const auto row = static_cast<size_t>(task.some.first_row);
    return std::tuple(products[task.product].rows[row], task.product, task.some.first_rank);
  });
  const auto n_tasks = static_cast<int64_t>(tasks.size());
  const Task* all = tasks.data();  // the workers' own vectors are others
  pool_->run_ranges(n_tasks, grain_of(n_tasks, work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && !cancelled(); ++i) {
      const auto& [product, some] = all[i];
      shrink(products[product], some, in, coefficients_.data() + coefficients_at_[product]);
    }
  });
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
    size_t first_product;
    int64_t first_col;
  };
  thread_local std::vector<Task> tasks;
  tasks.clear();
  int64_t work = 0;
  for (size_t i = 0; i < products.size(); ++i) {
    const LoraProduct& product = products[i];
    work += n_rows_of(product) * (product.up.rows + 1) * product.out.cols;
    if (i > 0 && products[i - 1].out.data == product.out.data) continue;
    for (int64_t col = 0; col < product.out.cols; col += kColsAtOnce) {
      tasks.push_back({i, col});
    }
  }
  const auto n_tasks = static_cast<int64_t>(tasks.size());
  const Task* all = tasks.data();
  pool_->run_ranges(n_tasks, grain_of(n_tasks, work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && !cancelled(); ++i) {
      const size_t first = all[i].first_product;
      const Matrix& out = products[first].out;
      const int64_t col = all[i].first_col, n_cols = std::min(kColsAtOnce, out.cols - col);
      expand_piece(products, first, end_of_output(products, first),
                   {out.data + col, out.cols, 0, out.rows, col, n_cols});
    }
  });
}

// What products first .. end - 1 add to the piece, for those of its rows that they name.
void CpuBackend::expand_piece(std::span<const LoraProduct> products, size_t first, size_t end,
                              const OutputPiece& piece) {
  const auto [data, stride, first_row, n_rows, first_col, n_cols] = piece;
  for (size_t i = first; i < end; ++i) {
    const LoraProduct& product = products[i];
    const auto from = std::ranges::lower_bound(product.rows, first_row);
    const auto to = std::ranges::lower_bound(from, product.rows.end(), first_row + n_rows);
    const int64_t rank = product.up.rows;
    const float* u =
        coefficients_.data() + coefficients_at_[i] + (from - product.rows.begin()) * rank;
    const float* gain = product.gain.data ? product.gain.data + first_col : nullptr;
    for (auto row = from; row < to;) {
      const int64_t n = std::min<int64_t>(kRowsAtOnce, to - row);
      const RowPointers out(data, stride, first_row, std::span(row, row + n));
      for (int64_t r = 0; product.rescale.data && r < n; ++r) {
        rescale(product, out.rows[r], first_col, n_cols);
      }
      if (rank > 0) {
        kernels_.expand({type_of(product.up), at(product.up, 0, first_col), product.up.stride, rank,
                         u, rank, out.rows, n, n_cols, gain});
      }
      for (int64_t r = 0; product.shift.data && r < n; ++r) {
        shift(product, out.rows[r], first_col, n_cols);
      }
      row += n;
      u += n * rank;
    }
  }
}

}  // namespace realm::cpu
