// What the host plans for kernels, in device memory, found again by its bytes: the plan of a step
// that is like an earlier one is not uploaded again. Entries are good for launches that follow at
// once; when the memory is full all of them are forgotten, and what comes next overwrites them in
// the stream's order. One thread at a time.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "cuda/device_memory.h"

namespace realm::cuda {

class HostTables {
 public:
  explicit HostTables(ScratchBook& book) : memory_(book) {}

  // The bytes on the device, aligned to 16.
  const std::byte* put(std::span<const std::byte> bytes, Stream stream);

 private:
  struct Entry {
    size_t at, n;
  };
  const std::byte* find(size_t hash, std::span<const std::byte> bytes) const;

  Scratch memory_;
  std::byte* base_ = nullptr;
  std::vector<std::byte> copy_;  // what the memory holds, in its size
  size_t used_ = 0;
  std::unordered_multimap<size_t, Entry> entries_;  // by hash
};

}  // namespace realm::cuda
