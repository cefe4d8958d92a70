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

// Which adapters stand on which rows of a step, and on which of those wanted, in numbers that are
// equal for two steps only if the same adapters do, still there. Empty for the base alone.
struct AdaptersOnRows {
  std::span<const uint64_t> all;
  std::span<const uint64_t> replacing;  // of those that have whole weights in place of the base's
};

class StepRecorder {
 public:
  virtual ~StepRecorder() = default;

  // Computes a step whose ops `issue` issues, by calling it, at times twice, or by running again
  // what an earlier call issued. `issue` may read of the step what StepBatch names and nothing else
  // that changes between two steps with as many rows, as many wanted, equal `adapters.replacing`
  // and this cache; but for calls of add_lora() and add_lora_rows(), and the adapters that
  // experts() takes, which are the same in two steps with equal `adapters.all`. Throws what ops
  // throw.
  virtual void run(const StepBatch& step, std::span<const KvLayer> cache,
                   const AdaptersOnRows& adapters, const std::function<void()>& issue) = 0;
};

}  // namespace realm
