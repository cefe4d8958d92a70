// Counters that threads of a block share.
#pragma once

#include "cuda/device/language.cuh"

namespace realm::cuda {

// Returns what was there before.
#ifdef __CUDACC__
REALM_DEVICE int atomic_add(int* counter, int n) {
  return atomicAdd(counter, n);
}
#else
inline int atomic_add(int* counter, int n) {
  return __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}
#endif

}  // namespace realm::cuda
