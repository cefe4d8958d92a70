// The kernels compiled for the level "avx512". The build gives this file alone the matching
// compiler flags.
#include "cpu/kernels.h"

#if defined(__AVX512BW__)

#include <immintrin.h>

#include "cpu/kv_layout.h"

#define REALM_ISA_NAME "avx512"
#define INLINE static inline __attribute__((always_inline))
#define METHOD inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace realm::cpu {
namespace level_avx512 {
#include "base/vec16.h"
// The kernels are written in what vec16.h defines.
#include "cpu/kernels.inc"
}  // namespace level_avx512

const Kernels* avx512_kernels() {
  return &level_avx512::kTable;
}
}  // namespace realm::cpu

#else

namespace realm::cpu {
const Kernels* avx512_kernels() {
  return nullptr;
}
}  // namespace realm::cpu

#endif
