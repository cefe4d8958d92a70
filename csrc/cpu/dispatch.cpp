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
    case CpuLevel::kAmx:  // which only products of bytes make use of
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

// Each table is filled by code of its own level, which only a processor of that level can run: so
// only when it is asked for.
#define REALM_PANEL_TABLE(id, level)                          \
  case CpuLevel::id: {                                        \
    static const PanelTable filled = [] {                     \
      PanelTable table;                                       \
      table.exists = level_##level::add_tiles(table.kernels); \
      level_##level::add_k_formats(table.kernels);            \
      level_##level::add_32_formats(table.kernels);           \
      level_##level::add_floats(table.kernels);               \
      level_##level::add_integers(table.kernels);             \
      return table;                                           \
    }();                                                      \
    return filled;                                            \
  }

const PanelTable& panel_table_of(CpuLevel level);

// The table of avx512vnni with the matrix unit in place of its integer kernels.
const PanelTable& amx_panel_table() {
  static const PanelTable filled = [] {
    PanelTable table = panel_table_of(CpuLevel::kAvx512Vnni);
    table.exists = table.exists && level_amx::add_matrix(table.kernels);
    return table;
  }();
  return filled;
}

const PanelTable& panel_table_of(CpuLevel level) {
  switch (level) {
    REALM_EACH_LEVEL(REALM_PANEL_TABLE)
    case CpuLevel::kAmx:
      return amx_panel_table();
  }
  static const PanelTable none;
  return none;
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
