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

void Activations::quantize(const PanelKernels& kernels, ThreadPool& pool, Matrix in, Needs needs) {
  in_ = in;
  if (!needs.super && !needs.fine) return;
  const int64_t n_blocks = (in.cols + kBlockValues - 1) / kBlockValues, n = n_blocks * in.rows;
  if (needs.super) make_room(super_, super_room_, n + kMatrixRows);
  if (needs.fine) make_room(fine_, fine_room_, n);
  constexpr int64_t kBlocksTogether = 32;  // some microseconds: a fork below that costs more
  pool.run_ranges(n, kBlocksTogether, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      quantize_block(kernels, i / n_blocks, i % n_blocks, needs);
  });
}

void Activations::quantize_block(const PanelKernels& kernels, int64_t row, int64_t block,
                                 Needs needs) {
  const int64_t k = block * kBlockValues, at = block * in_.rows + row;
  const float* x = in_.data + row * in_.cols + k;
  if (needs.super) {
    ActSuper& out = super_[static_cast<size_t>(at)];
    kernels.quantize_super(x, &out);
    if (kernels.matrix.measure) kernels.matrix.measure(&out);
  }
  if (needs.fine) {
    const auto n = static_cast<int>(std::min<int64_t>(kBlockValues, in_.cols - k));
    kernels.quantize_fine(x, n, &fine_[static_cast<size_t>(at)]);
  }
}

}  // namespace realm::cpu
