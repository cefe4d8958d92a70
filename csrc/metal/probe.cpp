// The system's Metal device. Nothing of Metal is loaded before the first call here.
#include "backend/registry.h"
#include "metal/runtime.h"

namespace realm {

BackendProbe probe_metal() {
  BackendProbe probe;
  probe.kind = "metal";
  if (const auto device = metal::open_device(probe.reason)) {
    const metal::DeviceProperties& properties = device->properties();
    probe.devices.push_back(
        {"metal", 0, properties.name, {properties.family}, properties.memory_bytes});
  }
  probe.available = !probe.devices.empty();
  return probe;
}

}  // namespace realm
