#include <mach/mach.h>
#include <sys/sysctl.h>

#include "base/memory.h"

namespace realm {

uint64_t physical_memory() {
  uint64_t bytes = 0;
  size_t size = sizeof bytes;
  return ::sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? bytes : 0;
}

// Free pages and those that hold copies of files: what the system takes back without swapping.
uint64_t available_memory() {
  const mach_port_t host = ::mach_host_self();
  vm_statistics64_data_t found{};
  mach_msg_type_number_t n = HOST_VM_INFO64_COUNT;
  const auto out = reinterpret_cast<host_info64_t>(&found);
  const bool known = ::host_statistics64(host, HOST_VM_INFO64, out, &n) == KERN_SUCCESS;
  ::mach_port_deallocate(::mach_task_self(), host);
  if (!known) return physical_memory();
  const uint64_t pages = uint64_t{found.free_count} + found.external_page_count;
  return pages * vm_kernel_page_size;
}

}  // namespace realm
