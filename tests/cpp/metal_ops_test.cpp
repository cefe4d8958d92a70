// The ops of gpu_ops.inc on the emulated Metal device.
#include "cpp/metal_device.h"
#include "metal/metal_backend.h"

using namespace realm;
using Device = test::MetalDevice;

namespace {

void choose_largest(Device& device, Matrix logits, int32_t* tokens) {
  static_cast<metal::MetalBackend&>(*device.backend).choose_largest(logits, tokens);
}

}  // namespace

#include "cpp/gpu_ops.inc"
