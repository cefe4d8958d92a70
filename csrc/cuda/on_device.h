// The frame of every op of the CUDA backend.
#pragma once

#include "base/error.h"
#include "cuda/cuda_backend.h"
#include "cuda/step_graphs.h"

namespace realm::cuda {

template <class Body>
auto CudaBackend::on_device(Body body) {
  if constexpr (std::is_void_v<std::invoke_result_t<Body>>) {
    if (is_planning()) return graphs_->pass_op();
  }
  loss_.require_none(device_);
  try {
    select_device(device_);
    const LaunchCounts::Here counting(launches_);
    quantized_ = {};
    return body();
  } catch (const Error& error) {
    // A capture may fail for what a launch would not mind.
    if (error.code() == ErrorCode::kDevice && !is_capturing()) loss_.note(error.what());
    throw;
  }
}

template <class Body>
auto CudaBackend::beside_ops(Body body) const {
  loss_.require_none(device_);
  try {
    select_device(device_);
    return body();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kDevice) loss_.note(error.what());
    throw;
  }
}

template <class Body>
auto CudaBackend::on_device_reading(Matrix in, Body body) {
  const Matrix kept = quantized_;
  return on_device([&] {
    if (kept.data == in.data && kept.cols == in.cols && kept.rows >= in.rows) quantized_ = in;
    return body();
  });
}

inline RotationAngles angles_of(const RopeAngles& angles) {
  return {angles.cos, angles.sin, angles.half, angles.interleaved};
}

inline bool CudaBackend::is_capturing() const {
  return graphs_ && graphs_->is_capturing();
}

inline bool CudaBackend::is_planning() const {
  return graphs_ && graphs_->is_planning();
}

// Four arrays as gpu/step_plan.h lays them out.
inline StepRows rows_at(const int32_t* words, int64_t n_rows) {
  return {n_rows, words, words + n_rows, words + 2 * n_rows, words + 3 * n_rows};
}

inline KvPages pages_of(const KvLayer& cache) {
  return {reinterpret_cast<uint8_t*>(cache.data), cache.type, static_cast<int>(cache.n_kv_heads),
          static_cast<int>(cache.head_width)};
}

}  // namespace realm::cuda
