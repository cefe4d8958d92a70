// The adapters of gpu_lora.inc on the emulated Metal device.
#include "cpp/metal_device.h"

using namespace realm;
using Device = test::MetalDevice;

namespace {

constexpr char kDevice[] = "metal";
constexpr double kManyRowsError = 1e-8;

}  // namespace

#include "cpp/gpu_lora.inc"
