// The few choices an op can make, shared by the seam and by kernels. Valid C++17, CUDA and Metal;
// includes nothing.
#pragma once

namespace realm {

enum class Activation : int { kSilu, kGeluTanh };
enum class NormKind : int { kRms, kLayer };
enum class KvType : int { kF32, kF16, kBF16, kQ8_0 };  // storage of keys and values

}  // namespace realm
