// One input of a group of products, as its weights want it: f32 as it is, and int8 with one scale
// for 256 values or for 32 (cpu/panels/operands.h), made once for the whole group. Memory grows to
// the largest input and stays; integer kernels may read rows past the last. One thread at a time;
// quantizing uses the pool.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "backend/operands.h"
#include "base/thread_pool.h"
#include "cpu/panels/operands.h"

namespace realm::cpu {

// Of some rows of a block: no row's sum of squares is larger (operands.h: ActSuper, IntegerSlab).
struct Squares {
  float of_halves[2] = {}, of_subs_32 = 0, of_subs_16 = 0;

  void include(const Squares& other) {
    for (int half = 0; half < 2; ++half) {
      of_halves[half] = std::max(of_halves[half], other.of_halves[half]);
    }
    of_subs_32 = std::max(of_subs_32, other.of_subs_32);
    of_subs_16 = std::max(of_subs_16, other.of_subs_16);
  }
};

class Activations {
 public:
  struct Needs {
    bool super = false, fine = false;
  };

  // All rows, on the pool.
  void quantize(const PanelKernels& kernels, ThreadPool& pool, Matrix in, Needs needs);
  // In steps: begin(), and then all rows, from any threads, each beginning at a multiple of
  // kIntegerRows.
  void begin(const PanelKernels& kernels, Matrix in, Needs needs);
  void quantize_rows(const PanelKernels& kernels, int64_t begin, int64_t end);

  Matrix in() const { return in_; }
  // [block][row]
  const ActSuper* super(int64_t block, int64_t row) const {
    return super_.get() + block * in_.rows + row;
  }
  // Of kIntegerRows rows from `row` on, where there are integer kernels and several rows.
  const Squares& squares(int64_t block, int64_t row) const {
    return squares_[static_cast<size_t>(block * n_groups() + row / kIntegerRows)];
  }
  const ActFine* fine(int64_t block, int64_t row) const {
    return fine_.get() + block * in_.rows + row;
  }

 private:
  int64_t n_groups() const { return (in_.rows + kIntegerRows - 1) / kIntegerRows; }
  int64_t n_blocks() const { return (in_.cols + kBlockValues - 1) / kBlockValues; }
  void quantize_block(const PanelKernels& kernels, int64_t row, int64_t block);
  void quantize_group(const PanelKernels& kernels, int64_t group, int64_t block);

  Matrix in_;
  Needs needs_;
  bool has_squares_ = false;
  std::unique_ptr<ActSuper[]> super_;
  std::unique_ptr<ActFine[]> fine_;
  std::vector<Squares> squares_;
  int64_t super_room_ = 0, fine_room_ = 0;
};

}  // namespace realm::cpu
