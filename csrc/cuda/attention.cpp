// Attention and the cache: the step is planned on the host and uploaded when it differs from the
// last one, so once per step and not once per layer.
#include <cstring>

#include "cuda/kv_page.h"
#include "cuda/on_device.h"

namespace realm::cuda {

namespace {

constexpr uint64_t kPartBytes = 64 << 20;  // of split attention's parts at a time
constexpr int64_t kMaxTiledWidth = 256;

AttendShape kernel_shape(const AttentionShape& shape) {
  return {static_cast<int>(shape.n_heads),
          static_cast<int>(shape.n_kv_heads),
          static_cast<int>(shape.head_width),
          shape.scale,
          shape.softcap,
          static_cast<int>(shape.window)};
}

int64_t part_floats(const AttentionShape& shape) {
  return shape.n_kv_heads * kSplitQueries * (shape.head_width + 2);
}

}  // namespace

StepRows CudaBackend::plan(const StepBatch& step) {
  std::vector<int32_t> words = plan_rows(step);
  auto* device = rows_.reserve_of<int32_t>(static_cast<int64_t>(words.size()));
  if (words != planned_rows_ || device != planned_at_) {
    copy_to_device(device, words.data(), words.size() * sizeof(int32_t), stream_);
    planned_rows_ = std::move(words);
    planned_at_ = device;
    n_tile_plans_ = 0;
  }
  return rows_at(device, step.n_rows());
}

void CudaBackend::run_store_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v) {
  on_device([&] { launch_kv_store(pages_of(cache), plan(step), k.data, v.data, stream_); });
}

void CudaBackend::run_attend(const StepBatch& step, const KvLayer& cache,
                             const AttentionShape& shape, Matrix q, Matrix out) {
  on_device([&] {
    if (cache.type == KvType::kF32 || shape.head_width > kMaxTiledWidth) {
      return launch_attention_plain(pages_of(cache), plan(step), kernel_shape(shape), q.data,
                                    out.data, stream_);
    }
    attend_in_tiles(step, cache, shape, q, out);
  });
}

void CudaBackend::attend_in_tiles(const StepBatch& step, const KvLayer& cache,
                                  const AttentionShape& shape, Matrix q, Matrix out) {
  const StepRows rows = plan(step);
  const auto max_parts = static_cast<int64_t>(kPartBytes / sizeof(float)) / part_floats(shape);
  const TilesOnDevice& tiles =
      plan_tiles_of(step, {static_cast<int>(shape.n_heads / shape.n_kv_heads),
                           static_cast<int>(shape.window), deterministic_, max_parts});
  const KvPages pages = pages_of(cache);
  const AttendShape kernel = kernel_shape(shape);
  if (tiles.n_flash > 0) {
    launch_attention_flash(pages, rows.pages, tiles.flash, tiles.n_flash, kernel, q.data, out.data,
                           stream_);
  }
  for (const auto& batch : tiles.splits) {
    auto* parts = parts_.reserve_of<float>(batch.n_parts * part_floats(shape));
    launch_attention_split(pages, rows.pages, batch.tiles, batch.n_tiles, kernel, q.data, parts,
                           stream_);
    launch_attention_merge(batch.merges, batch.n_merges, kernel, parts, out.data, stream_);
  }
}

// The tiles of a kind of layer: planned for the first layer of the kind in a step, then found
// again.
const CudaBackend::TilesOnDevice& CudaBackend::plan_tiles_of(const StepBatch& step,
                                                             const TileOptions& options) {
  for (size_t i = 0; i < n_tile_plans_; ++i) {
    if (tile_plans_[i]->options == options) return *tile_plans_[i];
  }
  if (n_tile_plans_ == tile_plans_.size())
    tile_plans_.push_back(std::make_unique<TilesOnDevice>(device_));
  TilesOnDevice& tiles = *tile_plans_[n_tile_plans_++];
  tiles.options = options;
  const AttendPlan plan = plan_tiles(step, options);
  std::vector<std::byte> bytes;
  const auto append = [&](const auto& items) {
    const size_t at = bytes.size(), n = items.size() * sizeof(items[0]);
    bytes.resize(at + n);
    std::memcpy(bytes.data() + at, items.data(), n);
    return at;
  };
  const size_t flash_at = append(plan.flash);
  std::vector<std::pair<size_t, size_t>> places;
  for (const SplitBatch& batch : plan.splits)
    places.emplace_back(append(batch.tiles), append(batch.merges));
  std::byte* base = tiles.memory.reserve(bytes.size());
  copy_to_device(base, bytes.data(), bytes.size(), stream_);
  tiles.flash = reinterpret_cast<const AttendTile*>(base + flash_at);
  tiles.n_flash = static_cast<int64_t>(plan.flash.size());
  tiles.splits.clear();
  for (size_t i = 0; i < places.size(); ++i) {
    const SplitBatch& batch = plan.splits[i];
    tiles.splits.push_back({reinterpret_cast<const AttendTile*>(base + places[i].first),
                            static_cast<int64_t>(batch.tiles.size()),
                            reinterpret_cast<const MergeRow*>(base + places[i].second),
                            static_cast<int64_t>(batch.merges.size()), batch.n_parts});
  }
  return tiles;
}

}  // namespace realm::cuda
