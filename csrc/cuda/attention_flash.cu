// Attention of many queries of a sequence: a block takes a tile of 64 queries of one KV head (rows
// and the heads of the group together), a warp sixteen of them, over pages of keys in steps of
// kKeys, two stages of asynchronous copies deep. Scores and weighted sums run on the matrix unit
// with f32 sums, queries and weights in the cache's 16-bit format (halves for Q8_0). Key steps
// ascend from an absolute multiple of kKeys, so a query's bits do not depend on its company in the
// tile. Grid: tiles x KV heads. Operations: 4 * queries * keys * width. Oracle: attention_plain.
#include "cuda/attention_tile.cuh"

namespace realm::cuda {

namespace {

constexpr int kThreads = 128;

template <int kWidth>
constexpr int kKeys = kWidth > 128 ? 32 : 64;
template <int kWidth>
constexpr int kTileValues = kKeys<kWidth> * (kWidth + 8);  // of keys or of values, in a stage

template <int kWidth>
constexpr size_t kStageBytes = 2 * 2 * kTileValues<kWidth> * sizeof(uint16_t);

template <class Cache, int kWidth>
__global__ void __launch_bounds__(kThreads, 1)
    attention_flash_kernel(KvPages cache, const int32_t* pages, const AttendTile* tiles,
                           AttendShape shape, const float* q, float* out) {
  constexpr int kStep = kKeys<kWidth>;
  REALM_DYNAMIC_SHARED(shared);
  auto* stages = reinterpret_cast<uint16_t*>(shared);
  const AttendTile tile = tiles[blockIdx.x];
  const int kv_head = static_cast<int>(blockIdx.y);
  const HeadPages head = head_pages(cache, pages + tile.first_page, kv_head);
  const int first_step = tile.first_key / kStep, end_step = div_up(tile.end_key, kStep);
  const auto load = [&](int step) {
    if (step < end_step) {
      uint16_t* keys = stages + step % 2 * 2 * kTileValues<kWidth>;
      const auto load_part = [&](uint16_t* to, bool values) {
        load_keys<Cache, kWidth, kStep>(to, head, values, step * kStep, tile.first_key,
                                        tile.end_key, static_cast<int>(threadIdx.x), kThreads);
      };
      load_part(keys, false);
      load_part(keys + kTileValues<kWidth>, true);
    }
    commit_copies();
  };

  load(first_step);
  using Queries = QueryTile<typename Cache::Format, kWidth>;
  Queries queries;
  const int index = warp_index() * 16 + lane_index() / 4;
  queries.begin(place_query(tile, shape, kv_head, index),
                place_query(tile, shape, kv_head, index + 8), q, shape.head_width,
                shared + kStageBytes<kWidth> + warp_index() * Queries::kSharedBytes);
  for (int step = first_step; step < end_step; ++step) {
    await_copies<0>();
    __syncthreads();  // the step's keys are here, and everyone is done with the other stage
    load(step + 1);
    const uint16_t* keys = stages + step % 2 * 2 * kTileValues<kWidth>;
    float s[kStep / 8][4];
    queries.template score<kStep>(s, keys, step * kStep, shape);
    queries.template weigh<kStep>(s);
    queries.template add_values<kStep>(s, keys + kTileValues<kWidth>);
  }
  queries.finish();
  REALM_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (queries.place[half].at < 0) continue;
    float* row = out + queries.place[half].at;
    REALM_UNROLL
    for (int n = 0; n < kWidth / 8; ++n) {
      REALM_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int d = n * 8 + lane_index() % 4 * 2 + e;
        if (d < shape.head_width) row[d] = queries.out[n][2 * half + e] / queries.total[half];
      }
    }
  }
}

}  // namespace

void launch_attention_flash(const KvPages& cache, const int32_t* pages, const AttendTile* tiles,
                            int64_t n_tiles, const AttendShape& shape, const float* q, float* out,
                            Stream stream) {
  const dim3 grid(static_cast<unsigned>(n_tiles), static_cast<unsigned>(shape.n_kv_heads));
  with_cache(cache.type, [&](auto type) {
    with_width(shape.head_width, [&](auto width) {
      constexpr int kWidth = decltype(width)::kValue;
      using Queries = QueryTile<HalfFormat, kWidth>;
      constexpr size_t kSharedBytes =
          kStageBytes<kWidth> + kThreads / kWarp * Queries::kSharedBytes;
      REALM_LAUNCH((attention_flash_kernel<decltype(type), kWidth>), grid, dim3(kThreads),
                   kSharedBytes, stream, cache, pages, tiles, shape, q, out);
    });
  });
}

}  // namespace realm::cuda
