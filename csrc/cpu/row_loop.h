// How the CPU backend's row-wise ops share their rows out to the pool.
#pragma once

#include <algorithm>

#include "cpu/cpu_backend.h"

namespace realm::cpu {

template <class Body>
void CpuBackend::for_each_row(int64_t rows, int64_t cols, Body body) {
  constexpr int64_t kElementsPerChunk =
      1 << 12;  // about 3 us of work: below that a fork costs more than it gains
  const int64_t rows_per_chunk =
      std::max<int64_t>(1, kElementsPerChunk / std::max<int64_t>(1, cols));
  pool_->run_ranges(rows, rows_per_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

}  // namespace realm::cpu
