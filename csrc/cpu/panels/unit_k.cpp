// Kernels of the formats with superblocks of 256 values, at one CPU level.
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
#include "cpu/panels/formats_k.inc"

void add_k_formats(PanelKernels& kernels) {
  set_format<FormatQ2K>(kernels, Packed::kQ2_K);
  set_format<FormatQ3K>(kernels, Packed::kQ3_K);
  set_format<FormatQ4K>(kernels, Packed::kQ4_K);
  set_format<FormatQ5K>(kernels, Packed::kQ5_K);
  set_format<FormatQ6K>(kernels, Packed::kQ6_K);
  set_format<FormatIQ4XS>(kernels, Packed::kIQ4_XS);
}
#else
void add_k_formats(PanelKernels&) {}
#endif

}  // namespace realm::cpu::REALM_LEVEL_NAMESPACE
