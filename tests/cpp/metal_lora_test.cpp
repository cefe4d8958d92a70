// The adapters of gpu_lora.inc on the emulated Metal device.
#include "cpp/metal_device.h"
#include "metal/emulation/runtime.h"

using namespace realm;

// Every dispatch reaches by address what it names as resident, and nothing else.
struct Device : test::MetalDevice {
  Device() { simt::metal_state().hides_the_rest = true; }
};

namespace {

constexpr char kDevice[] = "metal";
constexpr double kManyRowsError = 1e-8;

}  // namespace

#include "cpp/gpu_lora.inc"
