// Memory for weights, in chunks that begin and grow in huge pages: matrices of a few megabytes, one
// beside the other, leave no remainders of small pages, whose translations cost a step several per
// cent. Committed as it is written; what a weight held goes back to the system when it is freed.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

namespace realm::cpu {

class WeightMemory {
 public:
  // Aligned to a cache line. Throws kOutOfMemory. The memory may outlive this object.
  std::shared_ptr<uint8_t> allocate(int64_t bytes);

 private:
  class Chunk;
  std::mutex mutex_;
  std::shared_ptr<Chunk> chunk_;  // the one that has room
  int64_t used_ = 0;              // of it
};

}  // namespace realm::cpu
