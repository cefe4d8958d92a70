#include "base/cpu_levels.h"

#if defined(__x86_64__)

#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include <cstdint>

namespace realm {

namespace {

// Asked of the processor itself: not every compiler comes with the library behind
// __builtin_cpu_supports.
struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf leaf(unsigned number) {
  Leaf found;
  __get_cpuid_count(number, 0, &found.eax, &found.ebx, &found.ecx, &found.edx);
  return found;
}

// Registers that the operating system saves: a bit for each kind.
uint32_t saved_registers() {
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool has_all(uint32_t word, uint32_t bits) {
  return (word & bits) == bits;
}

// Linux gives a process the registers of AMX when it asks, and their content a place on its stacks
// for signals: it refuses where one is too small. Other systems are not asked yet.
bool allow_tiles() {
#if defined(__linux__) && defined(REALM_HAS_AMX)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM of asm/prctl.h
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

std::vector<CpuLevel> detect_cpu_levels(bool ask_for_amx) {
  constexpr uint32_t kFma = 1u << 12, kOsSaves = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29;
  constexpr uint32_t kAvx2 = 1u << 5, kAvx512Vnni = 1u << 11;
  constexpr uint32_t kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  constexpr uint32_t kAmx = 1u << 24 | 1u << 25;                           // tiles, of bytes
  constexpr uint32_t kYmm = 0x06, kZmm = 0xe6, kTiles = 1u << 17 | 1u << 18;
  const Leaf first = leaf(1), seventh = leaf(7);
  std::vector<CpuLevel> levels = {CpuLevel::kBaseline};
  if (!has_all(first.ecx, kFma | kOsSaves | kAvx | kF16c)) return levels;
  const uint32_t saved = saved_registers();
  if (!has_all(saved, kYmm) || !has_all(seventh.ebx, kAvx2)) return levels;
  levels.push_back(CpuLevel::kAvx2);
  if (!has_all(saved, kZmm) || !has_all(seventh.ebx, kAvx512)) return levels;
  levels.push_back(CpuLevel::kAvx512);
  if (!has_all(seventh.ecx, kAvx512Vnni)) return levels;
  levels.push_back(CpuLevel::kAvx512Vnni);
  if (ask_for_amx && has_all(saved, kTiles) && has_all(seventh.edx, kAmx) && allow_tiles())
    levels.push_back(CpuLevel::kAmx);
  return levels;
}

}  // namespace realm

#endif
