#include "metal/device_memory.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace realm::metal {

namespace {

constexpr uint64_t kChunkBytes = 1 << 20;
constexpr uint64_t kPlaceAlignment = 256;

}  // namespace

Place Memory::at(const void* address) const {
  if (!address) return {};
  const auto value = reinterpret_cast<uintptr_t>(address);
  const std::lock_guard lock(mutex_);
  auto after = ranges_.upper_bound(value);
  if (after == ranges_.begin() || value >= std::prev(after)->second.end)
    fail(ErrorCode::kInternal, "an operand of a Metal op lies in no Metal buffer");
  --after;
  return {after->second.buffer, value - after->first};
}

MetalBuffer* Memory::make(uint64_t bytes) {
  const uint64_t n = std::max<uint64_t>(bytes, 1);
  MetalBuffer* buffer = device_->make_buffer(n);
  if (!buffer && n > device_->properties().buffer_bytes) {
    fail(ErrorCode::kOutOfMemory, "a buffer of the Metal device has at most ",
         human_bytes(device_->properties().buffer_bytes), "; ", human_bytes(bytes),
         " are needed in one");
  }
  if (!buffer) {
    fail(ErrorCode::kOutOfMemory, "the Metal device has ", human_bytes(device_->free_bytes()),
         " free of ", human_bytes(device_->properties().memory_bytes), "; ", human_bytes(bytes),
         " more are needed");
  }
  const auto begin = reinterpret_cast<uintptr_t>(device_->host_address(buffer));
  const std::lock_guard lock(mutex_);
  ranges_[begin] = {begin + n, buffer};
  return buffer;
}

void Memory::free(MetalBuffer* buffer) noexcept {
  {
    const std::lock_guard lock(mutex_);
    ranges_.erase(reinterpret_cast<uintptr_t>(device_->host_address(buffer)));
  }
  device_->free_buffer(buffer);
}

DeviceBuffer::DeviceBuffer(std::shared_ptr<Memory> memory, uint64_t bytes)
    : memory_(std::move(memory)), buffer_(memory_->make(bytes)) {
  data_ = memory_->device().host_address(buffer_);
  bytes_ = bytes;
}

Place Scratch::reserve(int64_t bytes) {
  const auto n = static_cast<uint64_t>(bytes);
  if (!buffer_ || buffer_->bytes() < n) {
    buffer_.reset();  // dispatches that use it keep it
    buffer_ = std::make_unique<DeviceBuffer>(memory_, n + n / 4);
  }
  return {buffer_->buffer(), 0};
}

Place StepMemory::put(const void* bytes, size_t n) {
  const auto fits = [&] {
    return chunk_ < chunks_.size() && used_ + n <= chunks_[chunk_]->bytes();
  };
  while (!fits() && chunk_ < chunks_.size()) {
    ++chunk_;
    used_ = 0;
  }
  if (!fits()) {
    chunks_.push_back(std::make_unique<DeviceBuffer>(memory_, std::max<uint64_t>(n, kChunkBytes)));
  }
  DeviceBuffer& chunk = *chunks_[chunk_];
  if (n > 0) std::memcpy(chunk.data() + used_, bytes, n);
  const Place place{chunk.buffer(), used_};
  used_ = (used_ + n + kPlaceAlignment - 1) / kPlaceAlignment * kPlaceAlignment;
  return place;
}

void StepMemory::forget() {
  chunk_ = 0;
  used_ = 0;
  ++generation_;
}

}  // namespace realm::metal
