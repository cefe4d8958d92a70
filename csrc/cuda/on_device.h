// The frame of every op of the CUDA backend.
#pragma once

#include "base/error.h"
#include "cuda/cuda_backend.h"

namespace realm::cuda {

template <class Body>
auto CudaBackend::on_device(Body body) {
  if (!lost_.empty()) fail(ErrorCode::kDevice, "CUDA device ", device_, " was lost: ", lost_);
  try {
    select_device(device_);
    const LaunchCounts::Here counting(launches_);
    return body();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kDevice) lost_ = error.what();
    throw;
  }
}

inline KvPages pages_of(const KvLayer& cache) {
  return {reinterpret_cast<uint8_t*>(cache.data), cache.type, static_cast<int>(cache.n_kv_heads),
          static_cast<int>(cache.head_width)};
}

}  // namespace realm::cuda
