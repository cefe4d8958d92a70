#include "cpu/dispatch.h"

#include "base/error.h"
#include "cpu/panels/units.h"

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
    case CpuLevel::kDotprod:  // which only products of bytes make use of
    case CpuLevel::kI8mm:
      return neon_kernels();
  }
  return nullptr;
}

struct PanelTable {
  PanelKernels kernels{};
  bool exists = false;
};

#define REALM_PANEL_TABLE(level)                            \
  [] {                                                      \
    PanelTable table;                                       \
    table.exists = level_##level::add_tiles(table.kernels); \
    level_##level::add_k_formats(table.kernels);            \
    level_##level::add_32_formats(table.kernels);           \
    level_##level::add_floats(table.kernels);               \
    return table;                                           \
  }()

const PanelTable& panel_table_of(CpuLevel level) {
  static const PanelTable tables[] = {REALM_PANEL_TABLE(baseline), REALM_PANEL_TABLE(avx2),
                                      REALM_PANEL_TABLE(avx512),   REALM_PANEL_TABLE(avx512vnni),
                                      REALM_PANEL_TABLE(neon),     REALM_PANEL_TABLE(dotprod),
                                      REALM_PANEL_TABLE(i8mm)};
  return tables[static_cast<int>(level)];
}
#undef REALM_PANEL_TABLE

}  // namespace

const Kernels& kernels_for(CpuLevel level) {
  const Kernels* table = table_of(level);
  REALM_CHECK(table != nullptr, "this build has no kernels for CPU level ", cpu_level_name(level));
  return *table;
}

const PanelKernels& panel_kernels_for(CpuLevel level) {
  const PanelTable& table = panel_table_of(level);
  REALM_CHECK(table.exists, "this build has no kernels for CPU level ", cpu_level_name(level));
  return table.kernels;
}

}  // namespace realm::cpu
