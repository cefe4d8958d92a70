// Copies of 16 bytes from global to shared memory that arrive later. A thread's copies between two
// commits are a group; await_copies<N>() returns when at most N of this thread's newest groups are
// still on their way. Other threads see them after a barrier that follows the wait. Both addresses
// are multiples of 16.
#pragma once

#include "cuda/device/language.cuh"

namespace realm::cuda {

#ifdef __CUDACC__

// Copies 16 bytes if `valid`, else writes zeros and reads nothing.
REALM_DEVICE void copy16_async(void* shared, const void* global, bool valid) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int n_valid = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(n_valid)
               : "memory");
}
REALM_DEVICE void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N>
REALM_DEVICE void await_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#else

inline void copy16_async(void* shared, const void* global, bool valid) {
  simt::copy_async(shared, global, 16, valid ? 16 : 0);
}
inline void commit_copies() {
  simt::commit_copies();
}
template <int N>
void await_copies() {
  simt::await_copies(N);
}

#endif

}  // namespace realm::cuda
