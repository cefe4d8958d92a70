// Products with weights in panels. Which kernels run, over which panels and rows, depends on the
// number of rows and on how the weight lies in memory; it changes no bit (docs/numerics.md). Called
// from several threads at once, on different panels; panels are counted within the weight.
#pragma once

#include <atomic>

#include "cpu/activations.h"
#include "cpu/panel_sums.h"
#include "cpu/weight.h"

namespace realm::cpu {

// How much work each path did, in kernel calls; tests read it to see that a path really ran.
struct PathCounts {
  std::atomic<uint64_t> fused{0};      // few rows, from packed bits
  std::atomic<uint64_t> streamed{0};   // of these, over large weights: stream_sums() wrote
  std::atomic<uint64_t> slab{0};       // whole tiles over unpacked slabs
  std::atomic<uint64_t> integer{0};    // the same by kernels that add up whole blocks in integers
  std::atomic<uint64_t> tail{0};       // tiles with fewer rows or panels
  std::atomic<uint64_t> floats{0};     // weights that are floats
  std::atomic<uint64_t> added{0};      // pieces of outputs that got what adapters add
  std::atomic<uint64_t> reference{0};  // decoded weights times f32 activations
};

// Rows up to which packed bits are unpacked in registers. Above, unpacking to a slab pays for
// itself.
constexpr int64_t kMaxFusedInput = kMaxFusedRows;

// Computes the output columns of a product that lie in n panels from `first` on.
void multiply_quantized_panels(const PanelKernels& kernels, const Product& product,
                               const Activations& acts, int64_t first, int64_t n, OutputUse use,
                               PathCounts& counts);
void multiply_float_panels(const PanelKernels& kernels, const Product& product,
                           const Activations& acts, int64_t first, int64_t n, OutputUse use,
                           PathCounts& counts);

}  // namespace realm::cpu
