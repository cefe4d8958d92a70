// How much memory there is, and how much this process could still use. One file per system
// implements it: memory_linux.cpp, memory_apple.cpp, memory_windows.cpp.
#pragma once

#include <cstdint>

namespace realm {

// Of the machine; 0 if nothing can be found out.
uint64_t physical_memory();

// What the system says is available without swapping, at most what the limits of the process's
// control groups (version 1 or 2) leave. 0 if nothing can be found out.
uint64_t available_memory();

}  // namespace realm
