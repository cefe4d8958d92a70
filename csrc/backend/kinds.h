// The few choices an op can make, shared by the seam and by kernels. Valid C++17, CUDA and Metal;
// includes nothing else.
#pragma once

#include "realm/kv_type.h"

namespace realm {

enum class Activation : int { kSilu, kGeluTanh };
enum class NormKind : int { kRms, kLayer };

}  // namespace realm
