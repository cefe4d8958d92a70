// Products in f32 throughout, for every format: sixteen weight rows are decoded 256 values at a
// time into a panel, which multiplies all rows of the input before the next one is decoded.
// Reductions run over ascending k with one FMA each. The oracle of the quantized products, and what
// activations = "f32" selects.
#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/cpu_backend.h"
#include "cpu/weight.h"

namespace realm::cpu {

namespace {

constexpr int64_t kDepth = 256;  // values of k decoded at a time: whole blocks of every format

struct Panel {
  alignas(64) float rows[kLanes][kDepth];  // as decoded
  alignas(64) float turned[kDepth][kLanes];
};

// Rows first_row .. of `weight` from column k on, turned so that the sixteen rows lie side by side;
// rows past the end are zero.
void decode_panel(const Kernels& kernels, const CpuWeight& weight, int64_t first_row,
                  int64_t n_rows, int64_t k, int64_t depth, Panel& panel) {
  for (int64_t r = 0; r < n_rows; ++r)
    weight.decode(kernels, first_row + r, k, depth, panel.rows[r]);
  for (int64_t d = 0; d < depth; ++d) {
    for (int64_t r = 0; r < kLanes; ++r) panel.turned[d][r] = r < n_rows ? panel.rows[r][d] : 0.0f;
  }
}

void write_outputs(const float* sums, int64_t n, const float* bias, Matrix out, int64_t first_col) {
  for (int64_t m = 0; m < out.rows; ++m) {
    float* row = out.data + m * out.cols + first_col;
    for (int64_t i = 0; i < n; ++i)
      row[i] = sums[m * kLanes + i] + (bias ? bias[first_col + i] : 0.0f);
  }
}

int64_t panels_of(const Product& product) {
  return (product.weight.n_rows + kLanes - 1) / kLanes;
}

// Sixteen columns of one product's output.
void multiply_panel(const Kernels& kernels, const Product& product, int64_t index, Matrix in) {
  thread_local std::vector<float> sums;  // grows to the largest step once
  thread_local Panel panel;
  const WeightRows& rows = product.weight;
  const int64_t first = index * kLanes, n = std::min<int64_t>(kLanes, rows.n_rows - first);
  sums.assign(static_cast<size_t>(in.rows * kLanes), 0.0f);
  for (int64_t k = 0; k < in.cols; k += kDepth) {
    const int64_t depth = std::min(kDepth, in.cols - k);
    decode_panel(kernels, as_cpu(*rows.weight), rows.first_row + first, n, k, depth, panel);
    kernels.multiply_panel(panel.turned[0], in.data + k, in.cols, in.rows, depth, sums.data());
  }
  write_outputs(sums.data(), n, product.bias.data, product.out, first);
}

}  // namespace

void CpuBackend::run_reference_linear(std::span<const Product> products, Matrix in) {
  int64_t total = 0;
  for (const Product& product : products) total += panels_of(product);
  pool_->run(total, [&](int64_t index) {
    if (cancelled()) return;
    const Product* product = products.data();
    for (; index >= panels_of(*product); ++product) index -= panels_of(*product);
    multiply_panel(kernels_, *product, index, in);
    path_counts_.reference.fetch_add(1, std::memory_order_relaxed);
  });
}

}  // namespace realm::cpu
