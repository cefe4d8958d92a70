// Every limit that the container puts on a stranger's file, in one place. A file beyond one is
// refused with the limit's value in the message. They bound the memory of what is not proportional
// to the file by itself (an entry costs more in memory than on disk); arrays and texts need none,
// because their declared sizes are held against the bytes that are left in the file.
#pragma once

#include <cstdint>

namespace realm::gguf {

inline constexpr uint32_t kDefaultAlignment = 32;
inline constexpr uint32_t kMinAlignment = 8;
inline constexpr uint32_t kMaxAlignment = 1 << 16;  // the largest page size in use
inline constexpr uint64_t kMaxKeys = 1 << 16;       // known files have at most a few hundred
inline constexpr uint64_t kMaxKeyBytes = 65535;     // the specification's limit
inline constexpr uint64_t kMaxTensors = 1 << 18;    // experts one by one make the largest, 2^16
inline constexpr uint64_t kMaxNameBytes = 127;      // of tensors; the specification says 64
inline constexpr uint64_t kMaxTextBytes = 1 << 26;  // of one text; chat templates are below 2^17
inline constexpr uint32_t kMaxParts = 512;          // each holds a file descriptor

}  // namespace realm::gguf
