#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <unistd.h>

#include "base/memory.h"

namespace realm {

namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

// The number a file holds; none for "max", an absent file and anything else.
std::optional<uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (!(file >> value)) return std::nullopt;
  return value;
}

// MemAvailable counts what the kernel would reclaim.
uint64_t system_available() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  for (uint64_t kilobytes; file >> key >> kilobytes; std::getline(file, unit)) {
    if (key == "MemAvailable:") return kilobytes * 1024;
  }
  return physical_memory();
}

// What one group leaves: its file cache can be reclaimed, so it does not count as used.
uint64_t left_in(const std::string& folder, const char* limit_file, const char* usage_file) {
  const auto limit = number_in(folder + "/" + limit_file);
  const auto usage = number_in(folder + "/" + usage_file);
  if (!limit || !usage) return kNoLimit;
  uint64_t reclaimable = 0;
  std::ifstream stat(folder + "/memory.stat");
  std::string key;
  for (uint64_t value; stat >> key >> value;) {
    if (key == "inactive_file" || key == "total_inactive_file") reclaimable = value;
  }
  const uint64_t used = *usage - std::min(*usage, reclaimable);
  return *limit - std::min(*limit, used);
}

// The least that this process's group and those above it leave.
uint64_t groups_left() {
  uint64_t left = kNoLimit;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool is_v2 = controllers.empty();
    if (!is_v2 && controllers.find("memory") == std::string::npos) continue;
    const std::string root = is_v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (std::string path = line.substr(second + 1);; path.resize(path.find_last_of('/'))) {
      while (!path.empty() && path.back() == '/') path.pop_back();
      left = std::min(
          left, is_v2 ? left_in(root + path, "memory.max", "memory.current")
                      : left_in(root + path, "memory.limit_in_bytes", "memory.usage_in_bytes"));
      if (path.empty()) break;
    }
  }
  return left;
}

}  // namespace

uint64_t physical_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(page) : 0;
}

uint64_t available_memory() {
  return std::min(system_available(), groups_left());
}

}  // namespace realm
