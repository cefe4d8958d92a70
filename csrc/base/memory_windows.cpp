#include <algorithm>

#include "base/memory.h"
#include "base/windows.h"

namespace realm {

namespace {

MEMORYSTATUSEX memory_status() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  if (!::GlobalMemoryStatusEx(&status)) return {};
  return status;
}

}  // namespace

uint64_t physical_memory() {
  return memory_status().ullTotalPhys;
}

// Memory counts when it is promised, not when it is touched: what is left of that is a bound too. A
// job object's limit lowers it.
uint64_t available_memory() {
  const MEMORYSTATUSEX status = memory_status();
  return std::min(status.ullAvailPhys, status.ullAvailPageFile);
}

}  // namespace realm
