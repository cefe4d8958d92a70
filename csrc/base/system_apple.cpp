#include <sys/sysctl.h>
#include <thread>
#include <unistd.h>

#include "base/system.h"

namespace realm {

int64_t process_id() {
  return ::getpid();
}

// The cores that are made for speed, where there are two kinds: a region ends with its slowest
// thread, and the others are several times slower.
int permitted_processors() {
  int n = 0;
  size_t size = sizeof n;
  if (::sysctlbyname("hw.perflevel0.logicalcpu", &n, &size, nullptr, 0) == 0 && n > 0) return n;
  return static_cast<int>(std::thread::hardware_concurrency());
}

std::string processor_name() {
  char name[256] = {};
  size_t size = sizeof name - 1;
  if (::sysctlbyname("machdep.cpu.brand_string", name, &size, nullptr, 0) != 0) return {};
  return name;
}

}  // namespace realm
