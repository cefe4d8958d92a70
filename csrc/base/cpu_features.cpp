#include "base/cpu_features.h"

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_levels.h"
#include "base/error.h"

namespace realm {

namespace {

constexpr CpuLevel kAllLevels[] = {CpuLevel::kBaseline,   CpuLevel::kAvx2, CpuLevel::kAvx512,
                                   CpuLevel::kAvx512Vnni, CpuLevel::kAmx,  CpuLevel::kNeon,
                                   CpuLevel::kDotprod,    CpuLevel::kI8mm};

// What REALM_CPU_ISA says; empty: nothing.
std::string_view forced_level() {
  const char* forced = std::getenv("REALM_CPU_ISA");
  return forced ? forced : "";
}

std::string supported_names() {
  std::string names;
  for (const CpuLevel level : supported_cpu_levels()) {
    names += concat(names.empty() ? "" : ", ", cpu_level_name(level));
  }
  return names;
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
    case CpuLevel::kAmx:
      return "amx";
    case CpuLevel::kNeon:
      return "neon";
    case CpuLevel::kDotprod:
      return "dotprod";
    case CpuLevel::kI8mm:
      return "i8mm";
  }
  return "unknown";
}

std::span<const CpuLevel> supported_cpu_levels() {
  static const std::vector<CpuLevel> levels = detect_cpu_levels(true);
  return levels;
}

CpuLevel active_cpu_level() {
  const std::string_view forced = forced_level();
  if (forced.empty()) return supported_cpu_levels().back();
  for (const CpuLevel level : kAllLevels) {
    if (forced != cpu_level_name(level)) continue;
    for (const CpuLevel have : detect_cpu_levels(level == CpuLevel::kAmx)) {
      if (have == level) return level;
    }
  }
  fail(ErrorCode::kInvalidRequest, "REALM_CPU_ISA is ", quoted(forced), "; this machine has ",
       supported_names());
}

CpuLevel active_vector_level() {
  return forced_level().empty() ? detect_cpu_levels(false).back() : active_cpu_level();
}

}  // namespace realm
