#include "cpu/panel_sums.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace realm::cpu {

namespace {

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

void copy_floats(float* out, const float* in, int64_t n) {
  std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
}

// Whole lines only: of a part of a line the rest would be fetched.
void stream_floats(float* out, const float* in, int64_t n) {
#if defined(__SSE2__)
  if (reinterpret_cast<uintptr_t>(out) % 64 == 0 && n % 16 == 0) {
    for (int64_t i = 0; i < n; i += 4) _mm_stream_ps(out + i, _mm_loadu_ps(in + i));
    return;
  }
#endif
  copy_floats(out, in, n);
}

template <class Move>
void move_sums(const Product& product, const float* sums, int64_t first_row, int64_t rows,
               int64_t panel, int64_t panels, Move move) {
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
      move(out, in, n);
    }
  }
}

}  // namespace

float* sums_of(int64_t rows, int64_t panels) {
  struct alignas(64) Line {
    float lanes[kPanelRows];
  };
  thread_local std::unique_ptr<Line[]> memory;
  thread_local int64_t room = 0;
  const int64_t n = rows * panels;
  if (n > room) {
    memory = std::make_unique_for_overwrite<Line[]>(static_cast<size_t>(n));
    room = n;
  }
  return memory[0].lanes;
}

float* zeroed_sums(int64_t rows, int64_t panels) {
  float* const sums = sums_of(rows, panels);
  std::fill_n(sums, rows * panels * kPanelRows, 0.0f);
  return sums;
}

void write_sums(const Product& product, const float* sums, int64_t first_row, int64_t rows,
                int64_t panel, int64_t panels) {
  move_sums(product, sums, first_row, rows, panel, panels, copy_floats);
}

void stream_sums(const Product& product, const float* sums, int64_t first_row, int64_t rows,
                 int64_t panel, int64_t panels) {
  move_sums(product, sums, first_row, rows, panel, panels, stream_floats);
}

// A few rows at a time are completed and moved.
void stream_completed(const Product& product, float* sums, int64_t first_row, int64_t rows,
                      int64_t panel, int64_t panels, OutputCompletion& completion) {
  const Columns columns(product.weight, panel, panels);
  const int64_t col = columns.first, n = columns.n, stride = panels * kPanelRows;
  const float* bias = product.bias.data ? product.bias.data + col : nullptr;
  float* from = sums + col + product.weight.first_row - panel * kPanelRows;
  for (int64_t row = 0; row < rows; row += kRowsMoved, from += kRowsMoved * stride) {
    const int64_t together = std::min(kRowsMoved, rows - row);
    for (int64_t r = 0; bias && r < together; ++r) {
      for (int64_t i = 0; i < n; ++i) from[r * stride + i] = from[r * stride + i] + bias[i];
    }
    completion.complete(product, {from, stride, first_row + row, together, col, n});
    float* out = product.out.data + (first_row + row) * product.out.cols + col;
    for (int64_t r = 0; r < together; ++r) {
      stream_floats(out + r * product.out.cols, from + r * stride, n);
    }
  }
}

void finish_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

RowBlocks::RowBlocks(const CpuWeight& weight, int64_t panel, int64_t block) {
  for (int r = 0; r < kPanelRows; ++r) rows[r] = weight.file_blocks(panel * kPanelRows + r, block);
}

}  // namespace realm::cpu
