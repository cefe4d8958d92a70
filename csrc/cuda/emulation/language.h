// The words of CUDA C++ for an ordinary compiler: what device/language.cuh means on the emulated
// device.
#pragma once

#include <cmath>
#include <cstring>
#include <tuple>

#include "base/error.h"
#include "cuda/emulation/runtime.h"
#include "cuda/runtime.h"
#include "gpu/emulation/machine.h"

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__

struct dim3 : realm::simt::Index {
  dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : Index{a, b, c} {}
};

#define threadIdx (::realm::simt::self().thread)
#define blockIdx (::realm::simt::self().block)
#define blockDim (::realm::simt::self().block_size)
#define gridDim (::realm::simt::self().grid_size)

inline void __syncthreads() {
  realm::simt::block_barrier();
}
inline void __syncwarp() {
  realm::simt::warp_barrier();
}

#define REALM_DEVICE inline
#define REALM_SHARED(T, name, n)    \
  static const char name##_key = 0; \
  T* const name = static_cast<T*>(  \
      ::realm::simt::static_shared(&name##_key, sizeof(T) * static_cast<size_t>(n)))
#define REALM_DYNAMIC_SHARED(name) \
  unsigned char* const name = static_cast<unsigned char*>(::realm::simt::dynamic_shared())
#define REALM_UNROLL

namespace realm::simt {

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            size_t shared_bytes, Arguments... arguments) {
  // Shuffles name all lanes of a warp.
  if (block.x % kWarp != 0 || block.y != 1 || block.z != 1)
    fail(ErrorCode::kInternal, name, ": blocks of ", block.x, " threads are no whole warps");
  const std::tuple<Parameters...> copies{arguments...};
  issue(name, [=] { run(grid, block, shared_bytes, [&] { std::apply(kernel, copies); }); });
}

}  // namespace realm::simt

#define REALM_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                \
  do {                                                                              \
    ::realm::simt::launch(#kernel, kernel, grid, block, shared_bytes, __VA_ARGS__); \
    static_cast<void>(stream);                                                      \
  } while (0)
