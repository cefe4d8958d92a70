#include "base/cpu_levels.h"

#if defined(__x86_64__)

namespace realm {

std::vector<CpuLevel> detect_cpu_levels() {
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

}  // namespace realm

#endif
