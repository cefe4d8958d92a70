// The emulated Metal device of a test.
#pragma once

#include "backend/registry.h"
#include "cpp/gpu_device.h"

namespace realm::test {

class MetalDevice : public GpuDevice {
 public:
  explicit MetalDevice(bool deterministic = false) : GpuDevice(make_metal_backend(deterministic)) {}
};

}  // namespace realm::test
