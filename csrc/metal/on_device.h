// The frame of every op of the Metal backend, and how an op records its kernels.
#pragma once

#include "base/error.h"
#include "metal/metal_backend.h"

namespace realm::metal {

constexpr int64_t div_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit;
}

template <class Body>
auto MetalBackend::on_device(Body body) {
  if (!lost_.empty()) fail(ErrorCode::kDevice, "the Metal device was lost: ", lost_);
  try {
    return body();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kDevice) lost_ = error.what();
    throw;
  }
}

template <class Constants>
void MetalBackend::launch(Kernel kernel, Grid grid, std::initializer_list<Place> places,
                          const Constants& constants) {
  record({kernel, grid, {places.begin(), places.size()}, {}, &constants, sizeof constants});
}

template <class Constants>
void MetalBackend::launch_elements(Kernel kernel, int64_t n, std::initializer_list<Place> places,
                                   const Constants& constants) {
  launch(kernel, {div_up(n, msl::kElementThreads)}, places, constants);
}

}  // namespace realm::metal
