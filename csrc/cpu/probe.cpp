#include "backend/registry.h"
#include "base/cpu_features.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/system.h"
#include "base/text.h"

namespace realm {

namespace {

DeviceInfo describe_cpu() {
  DeviceInfo cpu;
  cpu.kind = "cpu";
  cpu.name = processor_name();
  for (const CpuLevel level : supported_cpu_levels())
    cpu.features.emplace_back(cpu_level_name(level));
  cpu.memory_bytes = physical_memory();
  return cpu;
}

}  // namespace

BackendProbe probe_cpu() {
  BackendProbe probe;
  probe.kind = "cpu";
  try {
    probe.reason = concat("kernels use ", cpu_level_name(active_cpu_level()));
    probe.devices.push_back(describe_cpu());
    probe.available = true;
  } catch (const Error& error) {  // REALM_CPU_ISA names a level that this machine lacks
    probe.reason = error.what();
  }
  return probe;
}

}  // namespace realm
