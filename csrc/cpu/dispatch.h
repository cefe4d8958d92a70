// From a CPU level to its kernels.
#pragma once

#include "base/cpu_features.h"
#include "cpu/kernels.h"
#include "cpu/panels/operands.h"

namespace realm::cpu {

// The table of a level that supported_cpu_levels() lists. Throws kInvalidRequest if this binary has
// none for it.
const Kernels& kernels_for(CpuLevel level);
// The same level's kernels for matrix products.
const PanelKernels& panel_kernels_for(CpuLevel level);

}  // namespace realm::cpu
