// What the three languages of GPU code call by different names, for headers that all of them read:
// C++17 of hosts, CUDA C++ and the Metal Shading Language.
//
//   REALM_CONSTANT   a constant at namespace scope
//   REALM_EITHER     a function for the host and for kernels
//   REALM_ADDRESS(T) a device's address of a T: a number but in Metal's kernels
#pragma once

#ifdef __METAL_VERSION__
#include <metal_stdlib>
#define REALM_CONSTANT constexpr constant
#define REALM_EITHER inline
#define REALM_ADDRESS(type) device type*
#else
#include <cstdint>
#define REALM_ADDRESS(type) uint64_t
#define REALM_CONSTANT constexpr
#ifdef __CUDACC__
#define REALM_EITHER __host__ __device__ inline
#else
#define REALM_EITHER inline
#endif
#endif
