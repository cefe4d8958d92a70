// What adapters add to products, as a host cuts it (gpu/lora_plan.h) and kernels take it. Rows to
// which the same tasks add go in tiles, so that a factor is read once for all rows of a tile. Read
// by hosts and by kernels of every language (gpu/language.h).
#pragma once

#include "gpu/language.h"

namespace realm {
namespace gpu {

REALM_CONSTANT int kLoraRows = 8;  // of a tile, at most

enum class FactorType : int { kF32, kF16, kBF16 };

struct LoraTask {  // a LoraProduct, without its rows; factors are rows `stride` elements apart
  REALM_ADDRESS(const uint8_t) down;  // [rank, n_in], or [V, rank] where rows are looked up
  REALM_ADDRESS(const uint8_t) up;    // [rank, n_out]
  REALM_ADDRESS(const float) gain;    // [n_out] or null, as the next three
  REALM_ADDRESS(const float) rescale;
  REALM_ADDRESS(const float) bias;
  REALM_ADDRESS(const float) shift;
  int64_t down_stride, up_stride;
  FactorType down_type, up_type;
  int rank;
  float scale, shift_scale;
  int reserved;
};

// Some rows: those that stand in the list of rows from `first` on. With a `part` (else -1) the rows
// first .. first + n - 1 of that part of the ordered choices of experts, as far as it has them.
struct LoraRows {
  int first, n;
  int part;
  int reserved;
};

struct LoraTile {  // rows whose coefficients one task makes
  LoraRows rows;
  int64_t coefficients;  // of the first row; those of each next one lie `rank` further on
  int task;
  int reserved;
};

struct LoraChain {  // rows of one output to which the same tasks add, in the order of the links
  LoraRows rows;
  REALM_ADDRESS(float) out;
  int64_t n_cols;
  int first_link, n_links;
  int first_of_link;  // which row of the links' the first one is
  int reserved;
};

struct LoraLink {
  int64_t coefficients;  // of the link's first row
  int task;
  int reserved;
};

}  // namespace gpu
}  // namespace realm
