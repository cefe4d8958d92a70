#include "cpu/weight_memory.h"

#include <algorithm>

namespace realm::cpu {

namespace {

constexpr uint64_t kCacheLine = 64, kChunkBytes = 64 << 20;

}  // namespace

std::shared_ptr<uint8_t> WeightMemory::allocate(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto size = static_cast<uint64_t>(bytes);
  const uint64_t needed = (size + kCacheLine - 1) / kCacheLine * kCacheLine;
  if (!chunk_ || chunk_->bytes() - used_ < needed) {
    chunk_ = std::make_shared<Pages>(std::max(needed, kChunkBytes), "weights");
    used_ = 0;
  }
  uint8_t* memory = chunk_->begin() + used_;
  used_ += needed;
  return {memory, [chunk = chunk_, size](uint8_t* from) { Pages::forget(from, size); }};
}

}  // namespace realm::cpu
