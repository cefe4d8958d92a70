// Attention and the cache: the step is planned on the host and uploaded when it differs from the
// last one, so once per step and not once per layer.
#include <cstring>

#include "cuda/on_device.h"

namespace realm::cuda {

namespace {

constexpr uint64_t kPartBytes = 64 << 20;  // of split attention's parts at a time
constexpr int64_t kMaxTiledWidth = 256;
constexpr int64_t kQuantGroup = 32;  // of integer products

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

CudaBackend::PlannedStep& CudaBackend::plan(const StepBatch& step) {
  std::vector<int32_t> words = gpu::plan_rows(step);
  for (auto& planned : planned_) {
    if (!planned || planned->words != words) continue;
    std::swap(planned, planned_[0]);
    return *planned_[0];
  }
  std::swap(planned_[0], planned_[1]);
  auto& planned = planned_[0];
  if (!planned) planned = std::make_unique<PlannedStep>(scratch_);
  planned->words.clear();  // if the upload fails, nothing is planned
  auto* device = planned->memory.reserve_of<int32_t>(static_cast<int64_t>(words.size()));
  copy_to_device(device, words.data(), words.size() * sizeof(int32_t), stream_);
  planned->words = std::move(words);
  planned->rows = rows_at(device, step.n_rows());
  planned->n_tiles = 0;
  return *planned;
}

void CudaBackend::run_store_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v) {
  on_device([&] { launch_kv_store(pages_of(cache), rows_of(step), k.data, v.data, stream_); });
}

void CudaBackend::run_rotate_and_store_kv(const StepBatch& step, const KvLayer& cache,
                                          RopeAngles angles, Matrix q, Matrix k, Matrix v) {
  on_device([&] {
    launch_rotate_and_store(pages_of(cache), rows_of(step), angles_of(angles),
                            q.cols / cache.head_width, q.data, k.data, v.data, stream_);
  });
}

void CudaBackend::run_attend(const StepBatch& step, const KvLayer& cache,
                             const AttentionShape& shape, Matrix q, Matrix out) {
  on_device([&] {
    if (cache.type == KvType::kF32 || shape.head_width > kMaxTiledWidth) {
      return launch_attention_plain(pages_of(cache), rows_of(step), kernel_shape(shape), q.data,
                                    out.data, stream_);
    }
    attend_in_tiles(step, cache, shape, q, out);
  });
}

void CudaBackend::attend_in_tiles(const StepBatch& step, const KvLayer& cache,
                                  const AttentionShape& shape, Matrix q, Matrix out) {
  const auto max_parts = static_cast<int64_t>(kPartBytes / sizeof(float)) / part_floats(shape);
  const gpu::TileOptions options{static_cast<int>(shape.n_heads / shape.n_kv_heads),
                                 static_cast<int>(shape.window), deterministic_, max_parts};
  const int32_t* page_list = rows_of(step).pages;
  const Tiles tiles = tiles_of(step, options);
  const KvPages pages = pages_of(cache);
  const AttendShape kernel = kernel_shape(shape);
  if (tiles.n_flash > 0) {
    launch_attention_flash(pages, page_list, tiles.flash, tiles.n_flash, kernel, q.data, out.data,
                           stream_);
  }
  // A merge has whole groups; of rows that the other kernel wrote there are none.
  const bool quantize = tiles.n_flash == 0 && shape.head_width % kQuantGroup == 0;
  const QuantizedRows quantized = quantize ? quantize_with(out) : QuantizedRows{};
  for (const auto& batch : tiles.splits) {
    // Rounded, so that a graph of this step holds those with a few parts more.
    auto* parts = parts_.reserve_of<float>(StepGraphs::rounded(batch.n_parts) * part_floats(shape));
    launch_attention_split(pages, page_list, batch.tiles, batch.n_tiles, kernel, q.data, parts,
                           stream_);
    launch_attention_merge(batch.merges, batch.n_merges, kernel, parts, out.data, quantized,
                           stream_);
  }
}

StepRows CudaBackend::rows_of(const StepBatch& step) {
  return is_capturing() ? graphs_->rows_of(step) : plan(step).rows;
}

CudaBackend::Tiles CudaBackend::tiles_of(const StepBatch& step, const gpu::TileOptions& options) {
  if (is_capturing()) return graphs_->tiles_of(step, options);
  if (graphs_) graphs_->note_tiles(step, options);
  return plan_tiles_of(plan(step), step, options);
}

// The tiles of a kind of layer: planned for the first layer of the kind in a step, then found
// again.
const CudaBackend::Tiles& CudaBackend::plan_tiles_of(PlannedStep& planned, const StepBatch& step,
                                                     const gpu::TileOptions& options) {
  for (size_t i = 0; i < planned.n_tiles; ++i) {
    if (planned.tiles[i]->options == options) return planned.tiles[i]->tiles;
  }
  if (planned.n_tiles == planned.tiles.size())
    planned.tiles.push_back(std::make_unique<TilesOnDevice>(scratch_));
  TilesOnDevice& planned_tiles = *planned.tiles[planned.n_tiles];
  planned_tiles.options = options;
  const gpu::AttendPlan plan = gpu::plan_tiles(step, options);
  std::vector<std::byte> bytes;
  const auto append = [&](const auto& items) {
    const size_t at = bytes.size(), n = items.size() * sizeof(items[0]);
    bytes.resize(at + n);
    if (n > 0) std::memcpy(bytes.data() + at, items.data(), n);
    return at;
  };
  const size_t flash_at = append(plan.flash);
  std::vector<std::pair<size_t, size_t>> places;
  for (const gpu::SplitBatch& batch : plan.splits)
    places.emplace_back(append(batch.tiles), append(batch.merges));
  std::byte* base = planned_tiles.memory.reserve(bytes.size());
  copy_to_device(base, bytes.data(), bytes.size(), stream_);
  Tiles& tiles = planned_tiles.tiles;
  tiles.flash = reinterpret_cast<const AttendTile*>(base + flash_at);
  tiles.n_flash = static_cast<int64_t>(plan.flash.size());
  tiles.splits.clear();
  for (size_t i = 0; i < places.size(); ++i) {
    const gpu::SplitBatch& batch = plan.splits[i];
    tiles.splits.push_back({reinterpret_cast<const AttendTile*>(base + places[i].first),
                            static_cast<int64_t>(batch.tiles.size()),
                            reinterpret_cast<const MergeRow*>(base + places[i].second),
                            static_cast<int64_t>(batch.merges.size()), batch.n_parts});
  }
  ++planned.n_tiles;
  return tiles;
}

}  // namespace realm::cuda
