// The words that kernels are written in, in two bodies: nvcc's and the emulated device's. With the
// other headers of this folder it is the only place of PTX, shuffles, asynchronous copies and
// matrix instructions; a kernel includes these and is one text for both.
//
//   REALM_SHARED(T, name, n)        static shared memory; poisoned with NaN when emulated
//   REALM_DYNAMIC_SHARED(name)      the launch's dynamic shared memory, aligned to 128 bytes
//   REALM_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...)
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__

#include <cuda_runtime.h>

#include "cuda/runtime.h"

#define REALM_DEVICE __device__ __forceinline__
#define REALM_SHARED(T, name, n) __shared__ T name[n]
#define REALM_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#define REALM_UNROLL _Pragma("unroll")

namespace realm::cuda {

constexpr size_t kSharedWithoutAsking = 48 << 10;

template <class Kernel>
void allow_shared(Kernel kernel, size_t bytes) {
  if (bytes <= kSharedWithoutAsking) return;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(bytes));
}

}  // namespace realm::cuda

// A template's comma needs parentheses around the kernel.
#define REALM_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  do {                                                               \
    ::realm::cuda::allow_shared(kernel, shared_bytes);               \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__);      \
    ::realm::cuda::check_launch(#kernel);                            \
  } while (0)

#else
#include "cuda/emulation/language.h"
#endif

namespace realm::cuda {

constexpr int kWarp = 32;

template <class T>
__host__ __device__ constexpr T div_up(T n, T unit) {
  return (n + unit - 1) / unit;
}

REALM_DEVICE int lane_index() {
  return static_cast<int>(threadIdx.x) % kWarp;
}
REALM_DEVICE int warp_index() {
  return static_cast<int>(threadIdx.x) / kWarp;
}

}  // namespace realm::cuda
