// Device memory as its owners hold it.
#pragma once

#include "backend/operands.h"
#include "cuda/runtime.h"

namespace realm::cuda {

// Throws kOutOfMemory with the sizes. Freed on the device it came from, in any thread.
class DeviceBuffer final : public Buffer {
 public:
  DeviceBuffer(int device, uint64_t bytes);
  ~DeviceBuffer() override;
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

 private:
  const int device_;
};

// What all working memory of a backend has in common.
struct ScratchBook {
  const int device;
  uint64_t n_moves = 0;    // how often a piece of it got another address
  bool is_frozen = false;  // while true, a piece that would have to move throws kInternal
};

// Working memory of one op at a time. It grows to the largest request and stays, so that steps of
// sizes that were seen before allocate nothing.
class Scratch {
 public:
  explicit Scratch(ScratchBook& book) : book_(book) {}

  std::byte* reserve(uint64_t bytes);
  template <class T>
  T* reserve_of(int64_t n) {
    return reinterpret_cast<T*>(reserve(static_cast<uint64_t>(n) * sizeof(T)));
  }

 private:
  ScratchBook& book_;
  std::unique_ptr<DeviceBuffer> memory_;
};

}  // namespace realm::cuda
