// How much memory this process could still use.
#pragma once

#include <cstdint>

namespace realm {

// What the system says is available without swapping, at most what the limits of the process's
// control groups (version 1 or 2) leave. 0 if nothing can be found out.
uint64_t available_memory();

}  // namespace realm
