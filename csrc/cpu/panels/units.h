// What the units of each CPU level add to its table of panel kernels.
#pragma once

#include "cpu/panels/operands.h"

namespace realm::cpu {

#define REALM_DECLARE_UNITS(level)           \
  namespace level_##level {                  \
    bool add_tiles(PanelKernels & kernels);  \
    void add_k_formats(PanelKernels&);       \
    void add_32_formats(PanelKernels&);      \
    void add_floats(PanelKernels & kernels); \
    void add_integers(PanelKernels&);        \
  }
REALM_DECLARE_UNITS(baseline)
REALM_DECLARE_UNITS(avx2)
REALM_DECLARE_UNITS(avx512)
REALM_DECLARE_UNITS(avx512vnni)
REALM_DECLARE_UNITS(neon)
REALM_DECLARE_UNITS(dotprod)
REALM_DECLARE_UNITS(i8mm)
#undef REALM_DECLARE_UNITS

namespace level_amx {  // over the tables of avx512vnni
bool add_matrix(PanelKernels& kernels);
}

}  // namespace realm::cpu
