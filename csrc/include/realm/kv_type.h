// How keys and values are stored. Part of what a request's numbers depend on. Valid C++17, CUDA and
// Metal; includes nothing.
#pragma once

namespace realm {

enum class KvType : int { kF32, kF16, kBF16, kQ8_0 };

}  // namespace realm
