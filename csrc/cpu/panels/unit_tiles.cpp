// Quantization of activations, and the tiles over unpacked slabs, at one CPU level.
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
#include "cpu/panels/product.inc"
#include "cpu/panels/quantize.inc"
// After product.inc.
#if defined(REALM_IS_I8MM)
#include "cpu/panels/tile_by_pairs.inc"
#endif
#include "cpu/panels/tile.inc"

bool add_tiles(PanelKernels& kernels) {
  kernels.quantize_super = quantize_super;
  kernels.quantize_fine = quantize_fine;
  kernels.compiled_for = REALM_LEVEL_TEXT;
  kernels.slab_order = {kSlabRun, kSignedFlip};
  set_tiles<SubBlocks<32, false, false>, true>(kernels, SlabKind::kSuper32);
  set_tiles<SubBlocks<16, false, false>, true>(kernels, SlabKind::kSuper16);
  set_tiles<SubBlocks<32, false, true>, false>(kernels, SlabKind::kSuper32Min);
  set_tiles<SubBlocks<16, false, true>, false>(kernels, SlabKind::kSuper16Min);
  set_tiles<SubBlocks<32, true, false>, true>(kernels, SlabKind::kFine32);
  set_tiles<SubBlocks<16, true, false>, true>(kernels, SlabKind::kFine16);
  set_tiles<SubBlocks<32, true, true>, false>(kernels, SlabKind::kFine32Min);
  return true;
}
#else
bool add_tiles(PanelKernels&) {
  return false;
}
#endif

}  // namespace realm::cpu::REALM_LEVEL_NAMESPACE
