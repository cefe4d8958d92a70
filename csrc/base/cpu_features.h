// Which instruction set the CPU kernels use. One binary carries every level of its architecture;
// the best one that the machine has is taken at run time, or the one that REALM_CPU_ISA names. A
// level that the machine lacks is refused, never silently replaced.
#pragma once

#include <span>

namespace realm {

enum class CpuLevel {
  kBaseline,    // what the compiler targets by default
  kAvx2,        // AVX2, FMA, F16C
  kAvx512,      // AVX-512 F, BW, DQ, VL
  kAvx512Vnni,  // and VNNI
  kAmx,         // and the matrix product of bytes (AMX)
  kNeon,        // Armv8 Advanced SIMD
  kDotprod,     // and the dot product of bytes (Armv8.2)
  kI8mm,        // and the matrix product of bytes (Armv8.6)
};

// "baseline", "avx2", "avx512", "avx512vnni", "amx", "neon", "dotprod", "i8mm".
const char* cpu_level_name(CpuLevel level);

// Levels that this machine runs, slowest first; never empty. The first call asks Linux for AMX, for
// the whole process (docs/decisions/0014-sums-of-halves-on-a-matrix-unit.md).
std::span<const CpuLevel> supported_cpu_levels();

// The level that kernels use: REALM_CPU_ISA if set, else the last supported one. Read from the
// environment at each call, so a test may change it between two engines; a lower level named there
// keeps this from asking for AMX. Throws kInvalidRequest for a name that is unknown or a level that
// this machine lacks.
CpuLevel active_cpu_level();

// The same for what has no use for AMX: does not ask for it unless REALM_CPU_ISA names it.
CpuLevel active_vector_level();

}  // namespace realm
