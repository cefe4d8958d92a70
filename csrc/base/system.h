// What the operating system says about this process and its processors. One file per system
// implements it: system_linux.cpp, system_apple.cpp, system_windows.cpp. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace realm {

// A child after fork has another one than its parent.
int64_t process_id();

// Processors that this process may use, by affinity and quotas; 0 if nothing can be found out.
int permitted_processors();

// As the system names the processor; empty if it does not.
std::string processor_name();

}  // namespace realm
