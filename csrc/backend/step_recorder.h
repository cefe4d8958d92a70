// Steps that repeat. The ops of a step depend on its tokens, positions and pages only through what
// kernels read of them, so a backend may keep the ops of one step and run them again for the next
// of the same form, with other contents in the same places, and the forward need not be walked.
//
// A recorder belongs to one decoder: to its working memory and its weights, which must outlive it.
// It is used by the thread that uses the backend, and may end in any other.
#pragma once

#include <functional>

#include "backend/operands.h"

namespace realm {

class StepRecorder {
 public:
  virtual ~StepRecorder() = default;

  // Computes a step whose ops `issue` issues, by calling it or by running again what an earlier
  // call issued. `adapters` is empty for a step of the base alone, and else equal for two steps
  // only if the same adapters, still there, stand on the same rows and the same of those wanted.
  // `issue` may read of the step what StepBatch names and nothing else that changes between two
  // steps with as many rows, as many wanted, these adapters and this cache. Throws what ops throw.
  virtual void run(const StepBatch& step, std::span<const KvLayer> cache,
                   std::span<const uint64_t> adapters, const std::function<void()>& issue) = 0;
};

}  // namespace realm
