// What tests ask of the emulated device beyond the runtime's own functions.
#pragma once

#include <cstdint>

namespace realm::simt {

struct DeviceState {
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint64_t used_bytes = 0;
  uint64_t n_allocations = 0, n_launches = 0, n_uploads = 0;  // since the process began
  int fail_launch_in = 0;  // 1: the next launch fails, and the device with it; 0: none
  bool lost = false;
};
DeviceState& device_state();

}  // namespace realm::simt
