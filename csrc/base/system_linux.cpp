// Linux, and what else has no file of its own: files that are not there say nothing.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sched.h>
#include <thread>
#include <unistd.h>

#include "base/system.h"

namespace realm {

namespace {

constexpr int kNoQuota = std::numeric_limits<int>::max();

// CPUs granted by cgroup v2, rounded up.
int cgroup_processors() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return kNoQuota;
  try {
    const double granted = std::ceil(std::stod(quota) / period);
    return granted < kNoQuota ? std::max(1, static_cast<int>(granted)) : kNoQuota;
  } catch (const std::exception&) {
    return kNoQuota;
  }
}

}  // namespace

int64_t process_id() {
  return ::getpid();
}

int permitted_processors() {
  int processors = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) processors = CPU_COUNT(&set);
#endif
  return std::min(processors, cgroup_processors());
}

// Arm's kernels give numbers of parts here, and no name.
std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return {};
}

}  // namespace realm
