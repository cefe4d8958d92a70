#include <bit>
#include <thread>

#include "base/system.h"
#include "base/windows.h"

namespace realm {

int64_t process_id() {
  return ::GetCurrentProcessId();
}

// A process is in one group of at most 64 processors unless it asks for more, which we do not.
int permitted_processors() {
  DWORD_PTR ours = 0, all = 0;
  if (::GetProcessAffinityMask(::GetCurrentProcess(), &ours, &all) && ours != 0) {
    return std::popcount(uint64_t{ours});
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

std::string processor_name() {
  constexpr const char* kKey = "HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0";
  char name[256] = {};
  DWORD size = sizeof name;
  // The value is ASCII on every processor there is, so the narrow call does not lose any of it.
  const LSTATUS found = ::RegGetValueA(HKEY_LOCAL_MACHINE, kKey, "ProcessorNameString",
                                       RRF_RT_REG_SZ, nullptr, name, &size);
  return found == ERROR_SUCCESS ? std::string(name) : std::string();
}

}  // namespace realm
