// The emulated CUDA device of a test.
#pragma once

#include "backend/registry.h"
#include "cpp/gpu_device.h"

namespace realm::test {

class CudaDevice : public GpuDevice {
 public:
  explicit CudaDevice(bool deterministic = false)
      : GpuDevice(make_cuda_backend(0, deterministic)) {}
};

}  // namespace realm::test
