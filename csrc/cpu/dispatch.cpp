#include "cpu/dispatch.h"

#include "base/error.h"

namespace realm::cpu {

namespace {

const Kernels* table_of(CpuLevel level) {
  switch (level) {
    case CpuLevel::kBaseline:
      return baseline_kernels();
    case CpuLevel::kAvx2:
      return avx2_kernels();
    case CpuLevel::kAvx512:
      return avx512_kernels();
    case CpuLevel::kAvx512Vnni:
      return avx512vnni_kernels();
    case CpuLevel::kNeon:
      return neon_kernels();
  }
  return nullptr;
}

}  // namespace

const Kernels& kernels_for(CpuLevel level) {
  const Kernels* table = table_of(level);
  REALM_CHECK(table != nullptr, "this build has no kernels for CPU level ", cpu_level_name(level));
  return *table;
}

}  // namespace realm::cpu
