// What the units of each CPU level add to its table of panel kernels.
#pragma once

#include "base/level_tables.h"
#include "cpu/panels/operands.h"

namespace realm::cpu {

#define REALM_DECLARE_UNITS(enumerator, level) \
  namespace level_##level {                    \
    bool add_tiles(PanelKernels & kernels);    \
    void add_k_formats(PanelKernels&);         \
    void add_32_formats(PanelKernels&);        \
    void add_floats(PanelKernels & kernels);   \
    void add_integers(PanelKernels&);          \
  }
REALM_EACH_LEVEL(REALM_DECLARE_UNITS)
#undef REALM_DECLARE_UNITS

namespace level_amx {  // over the tables of avx512vnni
bool add_matrix(PanelKernels& kernels);
}

}  // namespace realm::cpu
