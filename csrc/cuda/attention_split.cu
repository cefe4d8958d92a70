// Attention of few queries over many keys: the keys of a sequence are split at absolute multiples
// of kSplitKeys, each split by a block of its own, and the parts are merged in ascending order. In
// a block all warps hold the same sixteen queries (rows and the heads of a group together) and
// take sixteen keys in turn, each from shared memory of its own, two stages deep, without a barrier
// of the block; their states are merged in warp order. A query's bits depend on its own keys alone:
// keys that it does not see add nothing, not even a rounding. The merge may leave its rows as
// integer products take them too, as quantize.cu would: a warp has a group. Grids: tiles x KV
// heads; merged rows x KV heads. Bytes moved: keys and values once for each sixteen queries.
// Oracle: attention_plain.
#include "cuda/attention_tile.cuh"
#include "cuda/quantize_group.cuh"

namespace realm::cuda {

namespace {

constexpr int kKeys = 16;  // a warp's step
constexpr int kMergeThreads = 128;

// Wide heads have fewer warps, so that the smallest devices have the shared memory (99 KiB).
template <int kWidth>
constexpr int kWarps = kWidth > 128 ? 2 : 4;
template <int kWidth>
constexpr int kThreads = kWarps<kWidth> * kWarp;

template <int kWidth>
constexpr int kStepValues = kKeys * (kWidth + 8);  // keys or values of a stage of one warp
template <int kWidth>
constexpr int kStateFloats = kSplitQueries * (kWidth + 2);  // a warp's result
template <int kWidth>
constexpr size_t kStageBytes = kWarps<kWidth> * 2 * 2 * kStepValues<kWidth> * sizeof(uint16_t);
template <int kWidth>
constexpr size_t shared_bytes() {
  const size_t states = kWarps<kWidth> * kStateFloats<kWidth> * sizeof(float);
  const size_t queries = kWarps<kWidth> * QueryTile<HalfFormat, kWidth>::kSharedBytes;
  const size_t working = kStageBytes<kWidth> + queries;
  return working > states ? working : states;
}

// A warp's sums to shared memory: for each query its values, largest score and total.
template <class Queries, int kWidth>
REALM_DEVICE void write_state(const Queries& queries, float* state) {
  REALM_UNROLL
  for (int half = 0; half < 2; ++half) {
    float* row = state + (lane_index() / 4 + 8 * half) * (kWidth + 2);
    REALM_UNROLL
    for (int n = 0; n < kWidth / 8; ++n) {
      row[n * 8 + lane_index() % 4 * 2] = queries.out[n][2 * half];
      row[n * 8 + lane_index() % 4 * 2 + 1] = queries.out[n][2 * half + 1];
    }
    if (lane_index() % 4 == 0) {
      row[kWidth] = queries.top[half];
      row[kWidth + 1] = queries.total[half];
    }
  }
}

// The weight of a state whose largest score is `top` under a common maximum.
REALM_DEVICE float state_weight(float top, float largest) {
  return top == -INFINITY ? 0.0f : exp2f(top - largest);
}

template <class Cache, int kWidth>
__global__ void __launch_bounds__(kThreads<kWidth>, 1)
    attention_split_kernel(KvPages cache, const int32_t* pages, const AttendTile* tiles,
                           AttendShape shape, const float* q, float* parts) {
  constexpr int kCount = kWarps<kWidth>;
  REALM_DYNAMIC_SHARED(shared);
  const AttendTile tile = tiles[blockIdx.x];
  if (tile.n_queries == 0) return;  // what rounds a number of tiles up
  const int kv_head = static_cast<int>(blockIdx.y), width = shape.head_width;
  const HeadPages head = head_pages(cache, pages + tile.first_page, kv_head);
  auto* stages = reinterpret_cast<uint16_t*>(shared) + warp_index() * 4 * kStepValues<kWidth>;
  // A warp's steps are absolute too: which warp adds a key must not depend on the tile's first.
  const int first_step = tile.first_key / kKeys / kCount * kCount + warp_index();
  const int end_step = div_up(tile.end_key, kKeys);
  const auto stage_of = [&](int step) {
    return stages + (step - first_step) / kCount % 2 * 2 * kStepValues<kWidth>;
  };
  const auto load = [&](int step) {
    if (step < end_step) {
      const auto load_part = [&](uint16_t* to, bool values) {
        load_keys<Cache, kWidth, kKeys>(to, head, values, step * kKeys, tile.first_key,
                                        tile.end_key, lane_index(), kWarp);
      };
      load_part(stage_of(step), false);
      load_part(stage_of(step) + kStepValues<kWidth>, true);
    }
    commit_copies();
  };

  load(first_step);
  using Queries = QueryTile<typename Cache::Format, kWidth>;
  Queries queries;
  queries.begin(place_query(tile, shape, kv_head, lane_index() / 4),
                place_query(tile, shape, kv_head, lane_index() / 4 + 8), q, width,
                shared + kStageBytes<kWidth> + warp_index() * Queries::kSharedBytes);
  for (int step = first_step; step < end_step; step += kCount) {
    await_copies<0>();
    __syncwarp();  // the step's keys are here, and the warp is done with the other stage
    load(step + kCount);
    float s[kKeys / 8][4];
    queries.template score<kKeys>(s, stage_of(step), step * kKeys, shape);
    queries.template weigh<kKeys>(s);
    queries.template add_values<kKeys>(s, stage_of(step) + kStepValues<kWidth>);
  }
  queries.finish();
  await_copies<0>();
  __syncthreads();  // the stages become the place of the states
  auto* states = reinterpret_cast<float*>(shared);
  write_state<Queries, kWidth>(queries, states + warp_index() * kStateFloats<kWidth>);
  __syncthreads();
  float* part =
      parts + (int64_t{tile.part} * shape.n_kv_heads + kv_head) * kSplitQueries * (width + 2);
  for (int i = static_cast<int>(threadIdx.x); i < kSplitQueries * (width + 2);
       i += kThreads<kWidth>) {
    const int query = i / (width + 2), d = i % (width + 2);
    const float* state = states + query * (kWidth + 2);
    float largest = -INFINITY, sum = 0;
    for (int w = 0; w < kCount; ++w)
      largest = fmaxf(largest, state[w * kStateFloats<kWidth> + kWidth]);
    const int column = d < width ? d : d - width + kWidth;  // after the values: top, total
    for (int w = 0; w < kCount; ++w) {
      const float* one = state + w * kStateFloats<kWidth>;
      sum = fmaf(one[column], state_weight(one[kWidth], largest), sum);
    }
    part[i] = d == width ? largest : sum;
  }
}

template <bool kQuantize>
__global__ void attention_merge_kernel(const MergeRow* rows, AttendShape shape, const float* parts,
                                       float* out, QuantizedRows quantized) {
  const MergeRow merge = rows[blockIdx.x];
  const int kv_head = static_cast<int>(blockIdx.y), width = shape.head_width;
  const int64_t part_floats = int64_t{kSplitQueries} * (width + 2);
  for (int i = static_cast<int>(threadIdx.x); i < merge.n_queries * width; i += kMergeThreads) {
    const int query = i / width, d = i % width;
    const float* state = parts +
                         (int64_t{merge.first_part} * shape.n_kv_heads + kv_head) * part_floats +
                         query * (width + 2);
    const int64_t step = shape.n_kv_heads * part_floats;
    float largest = -INFINITY, sum = 0, total = 0;
    for (int p = 0; p < merge.n_parts; ++p) largest = fmaxf(largest, state[p * step + width]);
    for (int p = 0; p < merge.n_parts; ++p) {
      const float* one = state + p * step;
      const float weight = state_weight(one[width], largest);
      sum = fmaf(one[d], weight, sum);
      total = fmaf(one[width + 1], weight, total);
    }
    const AttendTile tile{merge.first_row, 0, 0, merge.first_query, merge.n_queries, 0, 0, 0};
    const int64_t at = place_query(tile, shape, kv_head, query).at + d;
    out[at] = sum / total;
    if (kQuantize) quantize_group(sum / total, at / kWarp, quantized);
  }
}

}  // namespace

void launch_attention_split(const KvPages& cache, const int32_t* pages, const AttendTile* tiles,
                            int64_t n_tiles, const AttendShape& shape, const float* q, float* parts,
                            Stream stream) {
  const dim3 grid(static_cast<unsigned>(n_tiles), static_cast<unsigned>(shape.n_kv_heads));
  with_cache(cache.type, [&](auto type) {
    with_width(shape.head_width, [&](auto width) {
      constexpr int kWidth = decltype(width)::kValue;
      REALM_LAUNCH((attention_split_kernel<decltype(type), kWidth>), grid, dim3(kThreads<kWidth>),
                   shared_bytes<kWidth>(), stream, cache, pages, tiles, shape, q, parts);
    });
  });
}

void launch_attention_merge(const MergeRow* rows, int64_t n_rows, const AttendShape& shape,
                            const float* parts, float* out, QuantizedRows quantized,
                            Stream stream) {
  const dim3 grid(static_cast<unsigned>(n_rows), static_cast<unsigned>(shape.n_kv_heads));
  if (quantized.quants) {
    REALM_LAUNCH(attention_merge_kernel<true>, grid, dim3(kMergeThreads), 0, stream, rows, shape,
                 parts, out, quantized);
  } else {
    REALM_LAUNCH(attention_merge_kernel<false>, grid, dim3(kMergeThreads), 0, stream, rows, shape,
                 parts, out, quantized);
  }
}

}  // namespace realm::cuda
