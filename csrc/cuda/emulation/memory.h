// The emulated device's memory, which the host cannot touch: as with a card, a pointer to it is
// good in kernels and in copies alone, and whoever follows one elsewhere ends as on a card. Under
// the sanitizers memory is the heap's, open to all, with red zones at its ends. For any thread.
#pragma once

#include <cstdint>

namespace realm::simt {

constexpr uint64_t kMemoryAlignment = 256;  // as of cudaMalloc

// Null when the machine has not so much; full of NaN.
void* take_memory(uint64_t bytes);
void give_memory_back(void* memory) noexcept;
uint64_t memory_size(const void* memory);  // as it was taken

// As long as one of these lives, in any thread, the memory can be touched.
class Visible {
 public:
  Visible();
  ~Visible();
  Visible(const Visible&) = delete;
  Visible& operator=(const Visible&) = delete;
};

}  // namespace realm::simt
