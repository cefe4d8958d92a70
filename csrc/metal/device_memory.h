// Device memory as its owners hold it. On Apple silicon it is the process's own: what the seam
// calls device addresses are host addresses, and Memory finds the buffer that an address lies in.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "backend/operands.h"
#include "metal/runtime.h"

namespace realm::metal {

// A device and its buffers by address. Any thread; outlives every buffer made from it.
class Memory {
 public:
  explicit Memory(std::unique_ptr<Device> device) : device_(std::move(device)) {}

  Device& device() { return *device_; }
  // Where a view's data lies: a null place for null, kInternal for what is in no buffer.
  Place at(const void* address) const;

  // Throws kOutOfMemory with the sizes.
  MetalBuffer* make(uint64_t bytes);
  void free(MetalBuffer* buffer) noexcept;

 private:
  struct Range {
    uintptr_t end;
    MetalBuffer* buffer;
  };
  const std::unique_ptr<Device> device_;
  mutable std::mutex mutex_;
  std::map<uintptr_t, Range> ranges_;  // by first address
};

class DeviceBuffer final : public Buffer {
 public:
  DeviceBuffer(std::shared_ptr<Memory> memory, uint64_t bytes);
  ~DeviceBuffer() override { memory_->free(buffer_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  MetalBuffer* buffer() const { return buffer_; }

 private:
  const std::shared_ptr<Memory> memory_;
  MetalBuffer* const buffer_;
};

// Working memory of one op at a time, in the order of dispatches. It grows to the largest request
// and stays, so that steps of sizes that were seen before allocate nothing.
class Scratch {
 public:
  explicit Scratch(std::shared_ptr<Memory> memory) : memory_(std::move(memory)) {}

  Place reserve(int64_t bytes);
  template <class T>
  T* reserve_of(int64_t n) {
    reserve(n * static_cast<int64_t>(sizeof(T)));
    return reinterpret_cast<T*>(buffer_->data());
  }

 private:
  const std::shared_ptr<Memory> memory_;
  std::unique_ptr<DeviceBuffer> buffer_;
};

// What the host tells the dispatches of one step (tokens, pages, tiles, tasks): written once, read
// until the step is finished, then forgotten as a whole.
class StepMemory {
 public:
  explicit StepMemory(std::shared_ptr<Memory> memory) : memory_(std::move(memory)) {}

  Place put(const void* bytes, size_t n);
  template <class T>
  Place put(std::span<const T> items) {
    return put(items.data(), items.size_bytes());
  }
  // To be called when nothing is pending.
  void forget();
  // Grows with every forget(): a place is good as long as this stays.
  uint64_t generation() const { return generation_; }

 private:
  const std::shared_ptr<Memory> memory_;
  std::vector<std::unique_ptr<DeviceBuffer>> chunks_;
  size_t chunk_ = 0;
  uint64_t used_ = 0;  // of that chunk
  uint64_t generation_ = 0;
};

}  // namespace realm::metal
