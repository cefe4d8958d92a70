#include "cpu/panel_sums.h"

#include <algorithm>
#include <cstring>

namespace realm::cpu {

namespace {

constexpr int64_t kLineFloats = 16;  // of a cache line

// The output columns that lie in some panels of a weight.
struct Columns {
  int64_t first, n;

  Columns(const WeightRows& weight, int64_t panel, int64_t panels) {
    const int64_t from = std::max(weight.first_row, panel * kPanelRows);
    const int64_t to = std::min(weight.first_row + weight.n_rows, (panel + panels) * kPanelRows);
    first = from - weight.first_row;
    n = to - from;
  }
};

}  // namespace

float* zeroed_sums(int64_t rows, int64_t panels) {
  thread_local std::unique_ptr<float[]> memory;
  thread_local int64_t room = 0;
  const int64_t n = rows * panels * kPanelRows;
  if (n > room) {
    memory = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(n));
    room = n;
  }
  std::fill_n(memory.get(), n, 0.0f);
  return memory.get();
}

void fetch_outputs(const Product& product, int64_t first_row, int64_t rows, int64_t panel,
                   int64_t panels) {
  const Columns columns(product.weight, panel, panels);
  for (int64_t r = 0; r < rows; ++r) {
    const float* out = product.out.data + (first_row + r) * product.out.cols + columns.first;
    for (int64_t i = 0; i < columns.n; i += kLineFloats) __builtin_prefetch(out + i, 1, 2);
    __builtin_prefetch(out + columns.n - 1, 1, 2);
  }
}

void write_sums(const Product& product, const float* sums, int64_t first_row, int64_t rows,
                int64_t panel, int64_t panels) {
  const Columns columns(product.weight, panel, panels);
  const int64_t from = columns.first + product.weight.first_row, col = columns.first;
  const int64_t n = columns.n;
  const float* bias = product.bias.data ? product.bias.data + col : nullptr;
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = sums + r * panels * kPanelRows + (from - panel * kPanelRows);
    float* out = product.out.data + (first_row + r) * product.out.cols + col;
    if (bias) {
      for (int64_t i = 0; i < n; ++i) out[i] = in[i] + bias[i];
    } else {
      std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
    }
  }
}

RowBlocks::RowBlocks(const CpuWeight& weight, int64_t panel, int64_t block) {
  for (int r = 0; r < kPanelRows; ++r) rows[r] = weight.file_blocks(panel * kPanelRows + r, block);
}

}  // namespace realm::cpu
