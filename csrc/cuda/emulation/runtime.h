// What tests ask of the emulated device beyond the runtime's own functions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace realm::simt {

struct DeviceState {
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint64_t used_bytes = 0;
  // Since the process began.
  uint64_t n_allocations = 0, n_launches = 0, n_uploads = 0, n_graphs_launched = 0;
  uint64_t bytes_downloaded = 0;
  int major = 9, minor = 0;  // of what it can do
  int fail_launch_in = 0;    // 1: the next launch fails, and the device with it; 0: none
  std::string failing_call;  // the same for a call of the runtime, as its errors name it
  int fail_call_in = 0;
  bool lost = false;
  bool fails_captures = false;
};
DeviceState& device_state();

// A launch with its arguments: runs now, or when the graph that is being captured does.
void issue(const char* kernel, std::function<void()> launch);

}  // namespace realm::simt
