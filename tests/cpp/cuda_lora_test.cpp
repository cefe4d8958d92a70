// The adapters of gpu_lora.inc on the emulated CUDA device, and those of single experts.
#include "cpp/cuda_device.h"

using namespace realm;
using Device = test::CudaDevice;

namespace {

constexpr char kDevice[] = "cuda";
constexpr double kManyRowsError = 1e-6;  // F16 weights meet an input of halves

}  // namespace

#include "cpp/gpu_lora.inc"
