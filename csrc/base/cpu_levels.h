// What this machine's processor and operating system have of the CPU levels. One file per
// architecture implements it and is empty for the others; base/cpu_features.h is for everyone else.
#pragma once

#include <vector>

#include "base/cpu_features.h"

namespace realm {

// Slowest first; never empty. `ask_for_amx`: whether to ask the system for AMX, where it must be
// asked: the answer holds for the whole process.
std::vector<CpuLevel> detect_cpu_levels(bool ask_for_amx);

}  // namespace realm
