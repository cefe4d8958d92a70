// The few choices an op can make, shared by the seam and by kernels. Valid C++17, CUDA and Metal;
// includes nothing else.
#pragma once

#include "realm/kv_type.h"

namespace realm {

enum class Activation : int { kSilu, kGeluTanh };
enum class NormKind : int { kRms, kLayer };

// What quantized weights are multiplied with: activations rounded to int8, or f32 as they are.
enum class ActivationKind : int { kInt8, kF32 };

}  // namespace realm
