// Enumerates CUDA devices. The runtime opens the driver itself, at the first call here: a machine
// without a driver, or with one that is too old, gives a reason and not a load error.
#include "backend/registry.h"
#include "base/error.h"
#include "cuda/dense_library.h"
#include "cuda/runtime.h"

namespace realm {

BackendProbe probe_cuda() {
  BackendProbe probe;
  probe.kind = "cuda";
  const int n_devices = cuda::count_devices(probe.reason);
  for (int i = 0; i < n_devices; ++i) {
    try {
      const cuda::DeviceProperties device = cuda::describe_device(i);
      probe.devices.push_back(
          {"cuda",
           i,
           device.name,
           {concat("sm_", device.major, device.minor), concat(device.n_multiprocessors, " SMs"),
            cuda::describe_dense_library()},
           device.memory_bytes});
    } catch (const Error& error) {
      probe.reason = concat("device ", i, ": ", error.what());
    }
  }
  probe.available = !probe.devices.empty();
  return probe;
}

}  // namespace realm
