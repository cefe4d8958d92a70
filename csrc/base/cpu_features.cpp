#include "base/cpu_features.h"

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"

namespace realm {

namespace {

constexpr CpuLevel kAllLevels[] = {CpuLevel::kBaseline, CpuLevel::kAvx2, CpuLevel::kAvx512,
                                   CpuLevel::kAvx512Vnni, CpuLevel::kNeon};

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
std::vector<CpuLevel> detect() {
  __builtin_cpu_init();  // also checks that the operating system saves the wide registers
  std::vector<CpuLevel> levels = {CpuLevel::kBaseline};
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c")) {
    return levels;
  }
  levels.push_back(CpuLevel::kAvx2);
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!avx512) return levels;
  levels.push_back(CpuLevel::kAvx512);
  if (__builtin_cpu_supports("avx512vnni")) levels.push_back(CpuLevel::kAvx512Vnni);
  return levels;
}
#elif defined(__aarch64__) || defined(_M_ARM64)
std::vector<CpuLevel> detect() {
  return {CpuLevel::kBaseline, CpuLevel::kNeon};
}
#else
std::vector<CpuLevel> detect() {
  return {CpuLevel::kBaseline};
}
#endif

std::string supported_names() {
  std::string names;
  for (const CpuLevel level : supported_cpu_levels()) {
    names += concat(names.empty() ? "" : ", ", cpu_level_name(level));
  }
  return names;
}

std::string read_model_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return {};
}

}  // namespace

const char* cpu_level_name(CpuLevel level) {
  switch (level) {
    case CpuLevel::kBaseline:
      return "baseline";
    case CpuLevel::kAvx2:
      return "avx2";
    case CpuLevel::kAvx512:
      return "avx512";
    case CpuLevel::kAvx512Vnni:
      return "avx512vnni";
    case CpuLevel::kNeon:
      return "neon";
  }
  return "unknown";
}

std::span<const CpuLevel> supported_cpu_levels() {
  static const std::vector<CpuLevel> levels = detect();
  return levels;
}

CpuLevel active_cpu_level() {
  const char* forced = std::getenv("REALM_CPU_ISA");
  if (forced == nullptr || *forced == '\0') return supported_cpu_levels().back();
  for (const CpuLevel level : kAllLevels) {
    if (std::string_view(forced) != cpu_level_name(level)) continue;
    for (const CpuLevel have : supported_cpu_levels()) {
      if (have == level) return level;
    }
  }
  fail(ErrorCode::kInvalidRequest, "REALM_CPU_ISA is ", quoted(forced), "; this machine has ",
       supported_names());
}

std::string_view cpu_model_name() {
  static const std::string name = read_model_name();
  return name;
}

}  // namespace realm
