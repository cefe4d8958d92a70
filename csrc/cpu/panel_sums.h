// Running sums of panel products, and their way to an output.
#pragma once

#include "backend/operands.h"
#include "cpu/weight.h"

namespace realm::cpu {

// Of some rows times some panels, [row][16 * panel + lane], all zero. This thread's own memory,
// until its next call.
float* zeroed_sums(int64_t rows, int64_t panels);

// Moves sums of the rows from `first_row` on and the panels from `panel` on to the product's
// output, adding the bias. Lanes that are not rows of the product are dropped.
void write_sums(const Product& product, const float* sums, int64_t first_row, int64_t rows,
                int64_t panel, int64_t panels);

// The same past the caches where the machine can: for outputs that would be pushed out of them
// before anyone reads them. Other threads see them after `finish_streams`.
void stream_sums(const Product& product, const float* sums, int64_t first_row, int64_t rows,
                 int64_t panel, int64_t panels);
void finish_streams();

// The blocks of the sixteen rows of a panel in the file's layout; null past the last row.
struct RowBlocks {
  const std::byte* rows[kPanelRows];
  RowBlocks(const CpuWeight& weight, int64_t panel, int64_t block);
};

}  // namespace realm::cpu
