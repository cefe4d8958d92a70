// Enumerates CUDA devices. The runtime is linked statically and opens the driver itself, at the
// first call here: a machine without a driver, or with one that is too old, gives a reason and not
// a load error.
#include <cuda_runtime.h>

#include "backend/registry.h"

namespace realm {

namespace {

std::string describe(cudaError_t status) {
  return std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status);
}

// Empty reason: `device` is filled.
std::string describe_device(int index, DeviceInfo& device) {
  cudaDeviceProp properties;
  const cudaError_t status = cudaGetDeviceProperties(&properties, index);
  if (status != cudaSuccess) return describe(status);
  device.kind = "cuda";
  device.index = index;
  device.name = properties.name;
  device.features = {"sm_" + std::to_string(properties.major) + std::to_string(properties.minor),
                     std::to_string(properties.multiProcessorCount) + " SMs"};
  device.memory_bytes = properties.totalGlobalMem;
  return {};
}

}  // namespace

BackendProbe probe_cuda() {
  BackendProbe probe;
  probe.kind = "cuda";
  int n_devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&n_devices);
  if (status != cudaSuccess) {
    probe.reason = describe(status);
    return probe;
  }
  for (int i = 0; i < n_devices; ++i) {
    DeviceInfo device;
    const std::string defect = describe_device(i, device);
    if (defect.empty()) probe.devices.push_back(device);
    if (!defect.empty()) probe.reason = "device " + std::to_string(i) + ": " + defect;
  }
  probe.available = !probe.devices.empty();
  return probe;
}

}  // namespace realm
