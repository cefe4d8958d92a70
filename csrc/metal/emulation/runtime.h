// What tests ask of the emulated Metal device beyond the runtime's own functions.
#pragma once

#include <cstdint>

namespace realm::simt {

struct MetalState {
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint64_t buffer_bytes = uint64_t{1} << 30;
  uint64_t used_bytes = 0;
  uint64_t n_allocations = 0, n_mapped = 0, n_dispatches = 0;  // since the process began
  uint64_t n_command_buffers = 0;
  int fail_dispatch_in = 0;  // 1: the next dispatch to run fails, and the device with it; 0: none
  bool lost = false;
  bool is_absent = false;  // no device is found
  bool refuses_mapping = false;
  bool hides_the_rest = false;  // while a dispatch runs, memory that it neither binds nor names
};
MetalState& metal_state();

}  // namespace realm::simt
