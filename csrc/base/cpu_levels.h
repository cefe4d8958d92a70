// What this machine's processor and operating system have of the CPU levels. One file per
// architecture implements it and is empty for the others; base/cpu_features.h is for everyone else.
#pragma once

#include <vector>

#include "base/cpu_features.h"

namespace realm {

// Slowest first; never empty.
std::vector<CpuLevel> detect_cpu_levels();

}  // namespace realm
