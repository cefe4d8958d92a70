#include "gpu/step_plan.h"

#include <algorithm>

#include "gpu/kv_page.h"

namespace realm::gpu {

namespace {

constexpr int32_t kFewQueries = 64;  // of one KV head and sequence: below, splits fill the device

class TilePlanner {
 public:
  explicit TilePlanner(const TileOptions& options) : options_(options) {}

  void add(const SequenceSpan& span, int32_t first_page) {
    const int32_t n_queries = span.n_rows * options_.heads_per_kv;
    const bool split = options_.split_all || n_queries <= kFewQueries;
    const int32_t step = split ? kSplitQueries : kFlashQueries;
    for (int32_t first = 0; first < n_queries; first += step) {
      const int32_t n = std::min(step, n_queries - first);
      const int32_t first_pos = span.first_pos + first / options_.heads_per_kv;
      const int32_t last_pos = span.first_pos + (first + n - 1) / options_.heads_per_kv;
      const int32_t first_key =
          options_.window > 0 ? std::max(0, first_pos - options_.window + 1) : 0;
      const AttendTile tile{span.first_row, span.first_pos, first_page, first, n,
                            first_key,      last_pos + 1,   0};
      if (split) {
        add_splits(tile);
      } else {
        plan_.flash.push_back(tile);
      }
    }
  }

  AttendPlan take() {
    // Long tiles first: the last ones to run should be short.
    std::ranges::stable_sort(plan_.flash, std::greater{},
                             [](const AttendTile& tile) { return tile.end_key - tile.first_key; });
    return std::move(plan_);
  }

 private:
  void add_splits(const AttendTile& tile) {
    const int32_t first = tile.first_key / kSplitKeys, last = (tile.end_key - 1) / kSplitKeys;
    const int32_t n = last - first + 1;
    if (plan_.splits.empty() || plan_.splits.back().n_parts + n > options_.max_parts)
      plan_.splits.emplace_back();
    SplitBatch& batch = plan_.splits.back();
    const auto first_part = static_cast<int32_t>(batch.n_parts);
    batch.merges.push_back({tile.first_row, tile.first_query, tile.n_queries, first_part, n});
    for (int32_t split = first; split <= last; ++split) {
      AttendTile part = tile;
      part.first_key = std::max(tile.first_key, split * kSplitKeys);
      part.end_key = std::min(tile.end_key, (split + 1) * kSplitKeys);
      part.part = first_part + split - first;
      batch.tiles.push_back(part);
    }
    batch.n_parts += n;
  }

  const TileOptions options_;
  AttendPlan plan_;
};

}  // namespace

std::vector<int32_t> plan_rows(const StepBatch& step) {
  const auto n = static_cast<size_t>(step.n_rows());
  std::vector<int32_t> words(3 * n);
  for (const SequenceSpan& span : step.spans) {
    const auto first_page = static_cast<int32_t>(words.size() - 3 * n);
    for (int32_t i = 0; i < span.n_rows; ++i) {
      const auto row = static_cast<size_t>(span.first_row + i);
      const int32_t pos = span.first_pos + i;
      const int32_t page = span.pages[static_cast<size_t>(pos / kPageTokens)];
      words[row] = pos;
      words[n + row] = page * kPageTokens + pos % kPageTokens;
      words[2 * n + row] = first_page;
    }
    words.insert(words.end(), span.pages.begin(), span.pages.end());
  }
  return words;
}

AttendPlan plan_tiles(const StepBatch& step, const TileOptions& options) {
  TilePlanner planner(options);
  int32_t first_page = 0;
  for (const SequenceSpan& span : step.spans) {
    planner.add(span, first_page);
    first_page += static_cast<int32_t>(span.pages.size());
  }
  return planner.take();
}

}  // namespace realm::gpu
