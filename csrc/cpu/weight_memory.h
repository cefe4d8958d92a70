// Memory for weights, in chunks of huge pages: matrices of a few megabytes, one beside the other,
// leave no remainders of small pages, whose translations cost a step several per cent. What a
// weight held goes back to the system when it is freed. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "cpu/pages.h"

namespace realm::cpu {

class WeightMemory {
 public:
  // Aligned to a cache line. Throws kOutOfMemory. The memory may outlive this object.
  std::shared_ptr<uint8_t> allocate(int64_t bytes);

 private:
  std::mutex mutex_;
  std::shared_ptr<Pages> chunk_;  // the one that has room
  uint64_t used_ = 0;             // of it
};

}  // namespace realm::cpu
