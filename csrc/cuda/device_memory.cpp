#include "cuda/device_memory.h"

#include <algorithm>

#include "base/error.h"

namespace realm::cuda {

DeviceBuffer::DeviceBuffer(int device, uint64_t bytes) : device_(device) {
  select_device(device);
  data_ = static_cast<std::byte*>(allocate_memory(std::max<uint64_t>(bytes, 1)));
  bytes_ = bytes;
  if (data_) return;
  const MemoryState state = memory_state();
  fail(ErrorCode::kOutOfMemory, "CUDA device ", device, " has ", human_bytes(state.free_bytes),
       " free of ", human_bytes(state.total_bytes), "; ", human_bytes(bytes), " more are needed");
}

DeviceBuffer::~DeviceBuffer() {
  try {
    select_device(device_);
  } catch (const Error&) {
    return;  // a lost device has no memory to give back
  }
  free_memory(data_);
}

std::byte* Scratch::reserve(uint64_t bytes) {
  if (!memory_ || memory_->bytes() < bytes) {
    if (book_.is_frozen)
      fail(ErrorCode::kInternal, "working memory would move to hold ", bytes, " bytes");
    ++book_.n_moves;
    memory_.reset();
    memory_ = std::make_unique<DeviceBuffer>(book_.device, bytes + bytes / 4);
  }
  return memory_->data();
}

}  // namespace realm::cuda
