// The little that the backend needs of Metal. Two bodies: runtime_objc.cpp over the Objective-C
// runtime, and emulation/runtime.cpp over the emulated device. Everything throws kDevice with the
// system's own words, but for what says otherwise.
//
// Dispatches are recorded and run in their order, each seeing what those before it wrote, when
// finish() is called and not before: host memory that they read must stay as it is until then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "metal/kernels.h"

namespace realm::metal {

struct MetalBuffer;  // a body's own affair

// A place in a buffer; a null buffer for what a kernel is told not to read.
struct Place {
  MetalBuffer* buffer = nullptr;
  uint64_t offset = 0;

  Place operator+(int64_t bytes) const { return {buffer, offset + static_cast<uint64_t>(bytes)}; }
};

struct Grid {  // of threadgroups
  int64_t x = 1, y = 1, z = 1;
};

struct Dispatch {
  Kernel kernel;
  Grid grid;
  std::span<const Place> buffers;                // in the order of the kernel's bindings
  std::span<MetalBuffer* const> residents = {};  // further buffers, which it reaches by address
  const void* constants = nullptr;               // the last binding, if the kernel has constants
  size_t constants_bytes = 0;
};

struct DeviceProperties {
  std::string name;
  std::string family;         // "Apple7" or later
  uint64_t memory_bytes = 0;  // that a process should use at most
  uint64_t buffer_bytes = 0;  // of one buffer at most
};

class Device {
 public:
  virtual ~Device() = default;

  virtual const DeviceProperties& properties() const = 0;
  virtual uint64_t free_bytes() const = 0;

  // Null when there is not so much left, or it is more than one buffer holds. Any thread.
  virtual MetalBuffer* make_buffer(uint64_t bytes) = 0;
  // A buffer over memory of the process, which stays where it is as long as the buffer lives; null
  // if it cannot be had. `begin` and `bytes` are multiples of kMappedAlignment.
  virtual MetalBuffer* map_memory(const void* begin, uint64_t bytes) = 0;
  // What dispatches still need is kept until they are done. Any thread.
  virtual void free_buffer(MetalBuffer* buffer) noexcept = 0;
  // Where the host sees the buffer, and where kernels see it.
  virtual std::byte* host_address(MetalBuffer* buffer) const = 0;
  virtual uint64_t gpu_address(MetalBuffer* buffer) const = 0;

  virtual void dispatch(const Dispatch& dispatch) = 0;
  virtual bool has_pending() const = 0;
  virtual void finish() = 0;
};

constexpr uint64_t kMappedAlignment = 16 << 10;  // a page of Apple's processors

// The system's device; null with a reason in words. Never throws.
std::unique_ptr<Device> open_device(std::string& reason);

}  // namespace realm::metal
