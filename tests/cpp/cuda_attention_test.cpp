// Attention as gpu_attention.inc tries it, on the emulated CUDA device.
#include "cpp/cuda_device.h"

using namespace realm;
using Device = test::CudaDevice;

namespace {

double tolerance(KvType type) {
  switch (type) {
    case KvType::kF32:
      return 2e-6;
    case KvType::kF16:  // of queries and weights
      return 1.5e-3;
    case KvType::kBF16:
      return 1e-2;
    case KvType::kQ8_0:
      return 2e-2;
  }
  return 0;
}

}  // namespace

#include "cpp/gpu_attention.inc"
