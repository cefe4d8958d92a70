// Attention as gpu_attention.inc tries it, on the emulated Metal device. All of it is f32.
#include "cpp/metal_device.h"

using namespace realm;
using Device = test::MetalDevice;

namespace {

double tolerance(KvType type) {
  return type == KvType::kQ8_0 ? 2e-2 : 3e-6;  // the reference does not round to Q8_0
}

}  // namespace

#include "cpp/gpu_attention.inc"
