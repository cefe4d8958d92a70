// The ops of gpu_ops.inc on the emulated CUDA device.
#include "cpp/cuda_device.h"
#include "cuda/kernels.h"

using namespace realm;
using Device = test::CudaDevice;

namespace {

void choose_largest(Device& device, Matrix logits, int32_t* tokens) {
  device.backend->sync();  // its stream is not the one below
  cuda::launch_choose_largest(logits.data, logits.rows, logits.cols, tokens, nullptr);
  cuda::await_stream(nullptr);
}

}  // namespace

#include "cpp/gpu_ops.inc"
