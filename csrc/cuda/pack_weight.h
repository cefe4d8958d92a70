// Host side of packed_weight.h: lays a weight's file bytes out in planes.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/operands.h"
#include "cuda/packed_weight.h"

namespace realm::cuda {

// The planes in one block of bytes, each at a multiple of 256; offsets instead of addresses.
struct PackedBytes {
  Packing packing;
  std::vector<std::byte> bytes;
  size_t high = 0, scales = 0, steps = 0;  // offsets; the quants begin at 0
  int64_t stride = 0;

  PackedWeight at(const std::byte* base, int64_t n_cols) const;
};

// With activations in f32 a weight's exact values, as floats.
PackedBytes pack_weight(const WeightBytes& weight, ActivationKind activations);

}  // namespace realm::cuda
