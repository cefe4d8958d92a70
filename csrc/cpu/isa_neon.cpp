// The kernels compiled for the level "neon". The build gives this file alone the matching compiler
// flags.
#include "cpu/kernels.h"

#if defined(__ARM_NEON)

#include <arm_neon.h>

#include "cpu/kv_layout.h"

#define REALM_IS_NEON
#define REALM_ISA_NAME "neon"
#define INLINE static inline __attribute__((always_inline))
#define METHOD inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace realm::cpu {
namespace level_neon {
#include "base/vec16.h"
// The kernels are written in what vec16.h defines.
#include "cpu/kernels.inc"
}  // namespace level_neon

const Kernels* neon_kernels() {
  return &level_neon::kTable;
}
}  // namespace realm::cpu

#else

namespace realm::cpu {
const Kernels* neon_kernels() {
  return nullptr;
}
}  // namespace realm::cpu

#endif
