// The kernels compiled with the compiler's default instructions: the scalar reference that every
// other level equals.
#include "base/half.h"
#include "cpu/kernels.h"
#include "cpu/kv_layout.h"

#define REALM_ISA_NAME "baseline"
#define REALM_IS_BASELINE
#define INLINE static inline __attribute__((always_inline))
#define CALLED static __attribute__((noinline))  // sixteen libm calls, once for all
#define METHOD inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace realm::cpu {
namespace level_baseline {
#include "base/vec16.h"
// The kernels are written in what vec16.h defines.
#include "cpu/kernels.inc"
}  // namespace level_baseline

const Kernels* baseline_kernels() {
  return &level_baseline::kTable;
}
}  // namespace realm::cpu
