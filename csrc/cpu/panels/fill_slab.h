// Slabs of the formats that have no kernels for their packed bits: codebooks (IQ1, IQ2, IQ3),
// ternary, NVFP4 and Q8_K. Every weight becomes an int8 times a small scale times the block's float
// scale, exactly. Pure; thread-safe.
#pragma once

#include <cstddef>

#include "cpu/panels/operands.h"
#include "tensor/dtype.h"

namespace realm::cpu {

// `rows[r]` is row r's first file block, null for none; the blocks of its `n_blocks` that make 256
// values (several of NVFP4) follow every `stride` bytes.
void fill_slab(DType dtype, const std::byte* const (&rows)[kPanelRows], int n_blocks,
               int64_t stride, SlabOrder order, Slab& out);

}  // namespace realm::cpu
