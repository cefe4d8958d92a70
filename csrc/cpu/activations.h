// One input of a group of products, as its weights want it: f32 as it is, and int8 with one scale
// for 256 values or for 32 (cpu/panels/operands.h), made once for the whole group. Memory grows to
// the largest input and stays; a matrix unit may read rows past the last. One thread at a time;
// quantizing uses the pool.
#pragma once

#include <memory>

#include "backend/operands.h"
#include "base/thread_pool.h"
#include "cpu/panels/operands.h"

namespace realm::cpu {

class Activations {
 public:
  struct Needs {
    bool super = false, fine = false;
  };

  void quantize(const PanelKernels& kernels, ThreadPool& pool, Matrix in, Needs needs);

  Matrix in() const { return in_; }
  // [block][row]
  const ActSuper* super(int64_t block, int64_t row) const {
    return super_.get() + block * in_.rows + row;
  }
  const ActFine* fine(int64_t block, int64_t row) const {
    return fine_.get() + block * in_.rows + row;
  }

 private:
  void quantize_block(const PanelKernels& kernels, int64_t row, int64_t block, Needs needs);

  Matrix in_;
  std::unique_ptr<ActSuper[]> super_;
  std::unique_ptr<ActFine[]> fine_;
  int64_t super_room_ = 0, fine_room_ = 0;
};

}  // namespace realm::cpu
