#include "cpu/activations.h"

#include <algorithm>

namespace realm::cpu {

namespace {

template <class Block>
void make_room(std::unique_ptr<Block[]>& memory, int64_t& room, int64_t n) {
  if (n <= room) return;
  memory = std::make_unique_for_overwrite<Block[]>(static_cast<size_t>(n));
  room = n;
}

}  // namespace

void Activations::begin(const PanelKernels& kernels, Matrix in, Needs needs) {
  in_ = in;
  needs_ = needs;
  has_squares_ = needs.super && kernels.integer.measure && in.rows > kMaxFusedRows;
  if (needs.super) make_room(super_, super_room_, n_blocks() * in.rows + kIntegerRows);
  if (needs.fine) make_room(fine_, fine_room_, n_blocks() * in.rows);
  if (has_squares_) squares_.resize(static_cast<size_t>(n_blocks() * n_groups()));
}

void Activations::quantize(const PanelKernels& kernels, ThreadPool& pool, Matrix in, Needs needs) {
  begin(kernels, in, needs);
  if (!needs.super && !needs.fine) return;
  // Some microseconds: a fork below that costs more.
  constexpr int64_t kBlocksTogether = 32;
  if (has_squares_) {
    pool.run_ranges(n_blocks() * n_groups(), kBlocksTogether / kIntegerRows,
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i)
                        quantize_group(kernels, i / n_blocks(), i % n_blocks());
                    });
    return;
  }
  pool.run_ranges(n_blocks() * in.rows, kBlocksTogether, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) quantize_block(kernels, i / n_blocks(), i % n_blocks());
  });
}

void Activations::quantize_rows(const PanelKernels& kernels, int64_t begin, int64_t end) {
  if (has_squares_) {
    for (int64_t row = begin; row < end; row += kIntegerRows) {
      for (int64_t block = 0; block < n_blocks(); ++block)
        quantize_group(kernels, row / kIntegerRows, block);
    }
    return;
  }
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t block = 0; block < n_blocks(); ++block) quantize_block(kernels, row, block);
  }
}

void Activations::quantize_group(const PanelKernels& kernels, int64_t group, int64_t block) {
  Squares squares;
  const int64_t end = std::min(in_.rows, (group + 1) * kIntegerRows);
  for (int64_t row = group * kIntegerRows; row < end; ++row) {
    quantize_block(kernels, row, block);
    ActSuper& act = super_[static_cast<size_t>(block * in_.rows + row)];
    kernels.integer.measure(&act);
    squares.include({{act.square[0], act.square[1]}, act.square_32, act.square_16});
  }
  squares_[static_cast<size_t>(block * n_groups() + group)] = squares;
}

void Activations::quantize_block(const PanelKernels& kernels, int64_t row, int64_t block) {
  const int64_t k = block * kBlockValues, at = block * in_.rows + row;
  const float* x = in_.data + row * in_.cols + k;
  if (needs_.super) kernels.quantize_super(x, &super_[static_cast<size_t>(at)]);
  if (needs_.fine) {
    const auto n = static_cast<int>(std::min<int64_t>(kBlockValues, in_.cols - k));
    kernels.quantize_fine(x, n, &fine_[static_cast<size_t>(at)]);
  }
}

}  // namespace realm::cpu
