// Running sums of panel products, and their way to an output.
#pragma once

#include "backend/operands.h"
#include "cpu/weight.h"

namespace realm::cpu {

// Some rows and columns of an output, on their way there.
struct OutputPiece {
  float* data;  // of the first row and column
  int64_t stride;
  int64_t first_row, n_rows;
  int64_t first_col, n_cols;
};

// Adds to pieces of outputs before they are written, on the thread that computed them.
class OutputCompletion {
 public:
  virtual void complete(const Product& product, const OutputPiece& piece) = 0;

 protected:
  ~OutputCompletion() = default;
};

// What becomes of outputs.
struct OutputUse {
  OutputCompletion* completion = nullptr;  // of more than kMaxFusedRows rows; null: none
  bool is_read_soon = false;               // by something smaller than what comes between
};

// Of some rows times some panels, [row][16 * panel + lane], of any values yet. This thread's own
// memory, until its next call.
float* sums_of(int64_t rows, int64_t panels);
float* zeroed_sums(int64_t rows, int64_t panels);
// Rows whose sums stay in L1 between being added up and being moved.
constexpr int64_t kRowsMoved = 64;

// Moves sums of the rows from `first_row` on and the panels from `panel` on to the product's
// output, adding the bias. Lanes that are not rows of the product are dropped.
void write_sums(const Product& product, const float* sums, int64_t first_row, int64_t rows,
                int64_t panel, int64_t panels);
// The same past the caches where the machine can: for outputs that would be pushed out of them
// before anyone reads them. Other threads see them after `finish_streams`.
void stream_sums(const Product& product, const float* sums, int64_t first_row, int64_t rows,
                 int64_t panel, int64_t panels);
// As stream_sums, but completed before.
void stream_completed(const Product& product, float* sums, int64_t first_row, int64_t rows,
                      int64_t panel, int64_t panels, OutputCompletion& completion);
void finish_streams();

// The blocks of the sixteen rows of a panel in the file's layout; null past the last row.
struct RowBlocks {
  const std::byte* rows[kPanelRows];
  RowBlocks(const CpuWeight& weight, int64_t panel, int64_t block);
};

}  // namespace realm::cpu
