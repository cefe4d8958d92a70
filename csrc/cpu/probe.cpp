#include <unistd.h>

#include "backend/registry.h"
#include "base/cpu_features.h"
#include "base/error.h"
#include "base/text.h"

namespace realm {

namespace {

uint64_t physical_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return 0;
  return static_cast<uint64_t>(pages) * static_cast<uint64_t>(page_bytes);
}

DeviceInfo describe_cpu() {
  DeviceInfo cpu;
  cpu.kind = "cpu";
  cpu.name = cpu_model_name();
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
