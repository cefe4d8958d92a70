#include "base/cpu_levels.h"

#if !defined(__x86_64__) && !defined(__aarch64__)

namespace realm {

std::vector<CpuLevel> detect_cpu_levels(bool) {
  return {CpuLevel::kBaseline};
}

}  // namespace realm

#endif
