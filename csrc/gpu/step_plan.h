// A step laid out for kernels, on the host: where each row's keys lie, and the tiles of attention.
// Pure functions of the step; the backend uploads what they give when it changed.
#pragma once

#include <vector>

#include "backend/operands.h"
#include "gpu/attend_tile.h"

namespace realm::gpu {

// Four arrays, one behind the other: of each row its position, its slot (page * kPageTokens + place
// in the page), and where in the last array the pages of its sequence begin; then all pages.
std::vector<int32_t> plan_rows(const StepBatch& step);

// How the tiles of one kind of layer are cut.
struct TileOptions {
  int heads_per_kv = 1;
  int window = 0;
  bool split_all = false;       // no tile for the flash kernel
  int64_t max_parts = 1 << 14;  // of split tiles in one batch

  bool operator==(const TileOptions& other) const = default;
};

// Split tiles go in batches whose parts fit the working memory; parts are numbered anew in each.
struct SplitBatch {
  std::vector<AttendTile> tiles;
  std::vector<MergeRow> merges;
  int64_t n_parts = 0;
};

struct AttendPlan {
  std::vector<AttendTile> flash;
  std::vector<SplitBatch> splits;
};

// A sequence with few queries in the step is split over its keys, one with many is cut by queries.
// Splits begin at absolute multiples of kSplitKeys, so they are the same whoever shares the step.
AttendPlan plan_tiles(const StepBatch& step, const TileOptions& options);

}  // namespace realm::gpu
