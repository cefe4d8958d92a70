// Attention and the cache: the step is planned on the host once, whatever the number of layers, and
// lies in the step's memory until it is done.
#include "metal/on_device.h"

namespace realm::metal {

namespace {

constexpr int64_t kPartBytes = 64 << 20;  // of split attention's parts at a time

msl::AttendParams kernel_params(const StepBatch& step, const KvLayer& cache,
                                const AttentionShape& shape) {
  return {step.n_rows(),
          cache.type,
          {static_cast<int>(shape.n_heads), static_cast<int>(shape.n_kv_heads),
           static_cast<int>(shape.head_width), shape.scale, shape.softcap,
           static_cast<int>(shape.window)}};
}

int64_t part_bytes(const AttentionShape& shape) {
  return shape.n_kv_heads * gpu::kSplitQueries * (shape.head_width + 2) *
         static_cast<int64_t>(sizeof(float));
}

// Which of kTiledWidths holds the width; -1 if none does.
int tiled_width(int64_t width) {
  int index = 0;
  for (const int tiled : kTiledWidths) {
    if (width <= tiled) return index;
    ++index;
  }
  return -1;
}

}  // namespace

MetalBackend::PlannedStep& MetalBackend::plan(const StepBatch& step) {
  std::vector<int32_t> words = gpu::plan_rows(step);
  for (PlannedStep& planned : planned_) {
    if (planned.generation != step_.generation() || planned.words != words) continue;
    if (&planned != planned_) std::swap(planned_[0], planned_[1]);
    return planned_[0];
  }
  std::swap(planned_[0], planned_[1]);
  PlannedStep& planned = planned_[0];
  planned.rows = step_.put(std::span<const int32_t>(words));
  planned.words = std::move(words);
  planned.generation = step_.generation();
  planned.n_rows = step.n_rows();
  planned.tiles.clear();
  return planned;
}

void MetalBackend::run_store_kv(const StepBatch& step, const KvLayer& cache, Matrix k, Matrix v) {
  on_device([&] {
    launch(Kernel::kKvStore, {step.n_rows(), cache.n_kv_heads},
           {at(cache.data), plan(step).rows, at(k.data), at(v.data)},
           msl::KvParams{step.n_rows(), cache.type, static_cast<int>(cache.n_kv_heads),
                         static_cast<int>(cache.head_width)});
  });
}

void MetalBackend::run_attend(const StepBatch& step, const KvLayer& cache,
                              const AttentionShape& shape, Matrix q, Matrix out) {
  on_device([&] {
    if (tiled_width(shape.head_width) >= 0) return attend_in_tiles(step, cache, shape, q, out);
    launch(Kernel::kAttentionPlain, {div_up(step.n_rows() * shape.n_heads, msl::kPlainSimds)},
           {at(cache.data), plan(step).rows, at(q.data), at(out.data)},
           kernel_params(step, cache, shape));
  });
}

void MetalBackend::attend_in_tiles(const StepBatch& step, const KvLayer& cache,
                                   const AttentionShape& shape, Matrix q, Matrix out) {
  PlannedStep& planned = plan(step);
  const Tiles& tiles = plan_tiles_of(
      planned, step,
      {static_cast<int>(shape.n_heads / shape.n_kv_heads), static_cast<int>(shape.window),
       deterministic_, kPartBytes / part_bytes(shape)});
  const msl::AttendParams params = kernel_params(step, cache, shape);
  const int width = tiled_width(shape.head_width);
  launch(member(Kernel::kAttentionFlash, width), {tiles.n_flash, shape.n_kv_heads},
         {at(cache.data), planned.pages(), tiles.flash, at(q.data), at(out.data)}, params);
  for (const Tiles::Split& batch : tiles.splits) {
    const Place parts = parts_.reserve(batch.n_parts * part_bytes(shape));
    launch(member(Kernel::kAttentionSplit, width), {batch.n_tiles, shape.n_kv_heads},
           {at(cache.data), planned.pages(), batch.tiles, at(q.data), parts}, params);
    launch(Kernel::kAttentionMerge, {batch.n_merges, shape.n_kv_heads},
           {batch.merges, parts, at(out.data)}, params);
  }
}

// The tiles of a kind of layer: planned for the first layer of the kind in a step, then found
// again.
const MetalBackend::Tiles& MetalBackend::plan_tiles_of(PlannedStep& planned, const StepBatch& step,
                                                       const gpu::TileOptions& options) {
  for (const Tiles& tiles : planned.tiles) {
    if (tiles.options == options) return tiles;
  }
  const gpu::AttendPlan plan = gpu::plan_tiles(step, options);
  Tiles tiles{
      options, step_.put(std::span(plan.flash)), static_cast<int64_t>(plan.flash.size()), {}};
  for (const gpu::SplitBatch& batch : plan.splits) {
    tiles.splits.push_back({step_.put(std::span(batch.tiles)), step_.put(std::span(batch.merges)),
                            static_cast<int64_t>(batch.tiles.size()),
                            static_cast<int64_t>(batch.merges.size()), batch.n_parts});
  }
  planned.tiles.push_back(std::move(tiles));
  return planned.tiles.back();
}

}  // namespace realm::metal
