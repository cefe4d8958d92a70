// Pieces of attention as a host cuts them (gpu/step_plan.h) and kernels take them. Read by hosts
// and by kernels of every language (gpu/language.h).
#pragma once

#include "gpu/language.h"

namespace realm {
namespace gpu {

struct AttendShape {
  int n_heads, n_kv_heads, head_width;
  float scale, softcap;
  int window;  // 0: none
};

REALM_CONSTANT int kFlashQueries = 64;  // at most, of a tile that is not split
REALM_CONSTANT int kSplitQueries = 16;  // of one that is
REALM_CONSTANT int kSplitKeys = 256;    // of a split

// A piece of work of the tiled kernels: `n_queries` queries from `first_query` on of one sequence,
// where query i is row first_row + i / (heads per KV head), head i % (heads per KV head) of the
// group, over the keys first_key .. end_key - 1. Of a split piece the result goes to `part`.
struct AttendTile {
  int32_t first_row, first_pos, first_page;
  int32_t first_query, n_queries;
  int32_t first_key, end_key;
  int32_t part;
};

struct MergeRow {  // one query row group's parts, to be merged
  int32_t first_row, first_query, n_queries;
  int32_t first_part, n_parts;
};

}  // namespace gpu
}  // namespace realm
