// Products with weights that are floats, at one CPU level.
#include "base/level.h"
#include "cpu/panels/operands.h"
#include "cpu/panels/units.h"
#if defined(REALM_IS_BASELINE)
#include "base/half.h"
#endif

namespace realm::cpu::REALM_LEVEL_NAMESPACE {

#if defined(REALM_LEVEL_EXISTS)
#include "cpu/panels/lanes.h"
// After lanes.h, in the level's namespace.
#include "cpu/panels/floats.inc"

void add_floats(PanelKernels& kernels) {
  set_floats<PanelF16>(kernels, FloatPanel::kF16);
  set_floats<PanelBF16>(kernels, FloatPanel::kBF16);
  set_floats<PanelF32>(kernels, FloatPanel::kF32);
}
#else
void add_floats(PanelKernels&) {}
#endif

}  // namespace realm::cpu::REALM_LEVEL_NAMESPACE
