// Loops that do one thing as fast as a CPU level can: multiply small integers, multiply floats,
// read memory. What cpu/ceilings.cpp times. Pure over the caller's memory; thread-safe. Seen by a
// unit that uses wide instructions: no header of the C++ library here (base/vec16.h says why).
#pragma once

#include <stdint.h>

#include "base/cpu_features.h"

namespace realm::cpu {

struct PeakLoops {
  // Multiply `rounds` times in registers, in enough independent chains to keep every port busy.
  // Returns the multiply-accumulates done.
  int64_t (*multiply_i8)(int64_t rounds);
  int64_t (*multiply_f32)(int64_t rounds);
  // Reads `bytes`, a multiple of 1024, from an address that is a multiple of 64, each line once,
  // and asks for each line `ahead` bytes before it is needed; 0: leaves that to the hardware.
  void (*read)(const uint8_t* data, int64_t bytes, int64_t ahead);
};

PeakLoops peak_loops(CpuLevel level);

// A chain of `rounds` * 16 additions, one clock each.
void add_in_a_chain(int64_t rounds);

}  // namespace realm::cpu
