// Kernels of the formats with blocks of 32 values, at one CPU level.
#include "base/level.h"
#include "cpu/panels/operands.h"
#include "cpu/panels/units.h"
#include "quant/codebooks.h"
#if defined(REALM_IS_BASELINE)
#include "base/half.h"
#endif

namespace realm::cpu::REALM_LEVEL_NAMESPACE {

#if defined(REALM_LEVEL_EXISTS)
#include "cpu/panels/lanes.h"
// After lanes.h, in the level's namespace.
#include "cpu/panels/product.inc"
// After product.inc.
#include "cpu/panels/fused.inc"
#include "cpu/panels/levels.inc"
// After levels.inc.
#include "cpu/panels/formats_32.inc"

void add_32_formats(PanelKernels& kernels) {
  set_format<FormatQ4_0>(kernels, Packed::kQ4_0);
  set_format<FormatQ4_1>(kernels, Packed::kQ4_1);
  set_format<FormatQ5_0>(kernels, Packed::kQ5_0);
  set_format<FormatQ5_1>(kernels, Packed::kQ5_1);
  set_format<FormatQ8_0>(kernels, Packed::kQ8_0);
  set_format<FormatIQ4NL>(kernels, Packed::kIQ4_NL);
  set_format<FormatMXFP4>(kernels, Packed::kMXFP4);
}
#else
void add_32_formats(PanelKernels&) {}
#endif

}  // namespace realm::cpu::REALM_LEVEL_NAMESPACE
