// Attention of few queries over many keys: the keys of a sequence are split at absolute multiples
// of kSplitKeys, each split by a threadgroup of its own, and the parts are merged in ascending
// order. A query's bits depend on its own keys alone: keys that it does not see add nothing, not
// even a rounding. Parts are [n_parts, KV heads, kSplitQueries, head width + 2] f32: a query's
// values, not yet divided, its largest score in units of log2 and its total. Grids: tiles x KV
// heads; merged rows x KV heads. Bytes moved: keys and values once for each sixteen queries.
// Oracle: attention_plain.
#include "metal/attention_tile.h"

template <int kWidth>
kernel void attention_split_kernel(
    device const uint8_t* cache [[buffer(0)]], device const int* pages [[buffer(1)]],
    device const AttendTile* tiles [[buffer(2)]], device const float* q [[buffer(3)]],
    device float* parts [[buffer(4)]], constant AttendParams& p [[buffer(5)]],
    threadgroup uchar* shared [[threadgroup(0)]], uint2 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], uint thread_lane [[thread_index_in_simdgroup]]) {
  device const AttendTile& tile = tiles[group.x];
  const int kv_head = int(group.y), lane = int(thread_lane), width = p.shape.head_width;
  const HeadPages head = {cache, pages + tile.first_page, p.type, p.shape.n_kv_heads, kv_head,
                          width};
  QueryTile<kWidth> queries;
  attend_tile<kWidth, kSplitSimds>(queries, head, tile, p, q, shared, int(simd), lane);
  const long query = simd * kSimdQueries + lane / 4;
  device float* part =
      parts +
      ((long(tile.part) * p.shape.n_kv_heads + kv_head) * kSplitQueries + query) * (width + 2);
  queries.write(part, width, 1.0f);
  if (lane % 4 == 0) {
    part[width] = queries.top;
    part[width + 1] = queries.total;
  }
}

typedef decltype(attention_split_kernel<64>) attention_split_t;
template [[host_name("attention_split_64")]] kernel attention_split_t attention_split_kernel<64>;
template [[host_name("attention_split_96")]] kernel attention_split_t attention_split_kernel<96>;
template [[host_name("attention_split_128")]] kernel attention_split_t attention_split_kernel<128>;
template [[host_name("attention_split_256")]] kernel attention_split_t attention_split_kernel<256>;

kernel void attention_merge_kernel(device const MergeRow* rows [[buffer(0)]],
                                   device const float* parts [[buffer(1)]],
                                   device float* out [[buffer(2)]],
                                   constant AttendParams& p [[buffer(3)]],
                                   uint2 group [[threadgroup_position_in_grid]],
                                   uint2 thread_at [[thread_position_in_threadgroup]]) {
  device const MergeRow& merge = rows[group.x];
  const int kv_head = int(group.y), width = p.shape.head_width;
  const int heads = p.shape.n_heads / p.shape.n_kv_heads;
  const long part_floats = long(kSplitQueries) * (width + 2);
  const long step = part_floats * p.shape.n_kv_heads;
  for (int i = int(thread_at.x); i < merge.n_queries * width; i += kMergeThreads) {
    const int index = i / width, d = i % width;
    device const float* state =
        parts + (long(merge.first_part) * p.shape.n_kv_heads + kv_head) * part_floats +
        index * (width + 2);
    float largest = -INFINITY, sum = 0, total = 0;
    for (int n = 0; n < merge.n_parts; ++n) largest = fmax(largest, state[n * step + width]);
    for (int n = 0; n < merge.n_parts; ++n) {
      device const float* one = state + n * step;
      const float weight = one[width] == -INFINITY ? 0.0f : exp2(one[width] - largest);
      sum = fma(one[d], weight, sum);
      total = fma(one[width + 1], weight, total);
    }
    const int query = merge.first_query + index;
    const long row = merge.first_row + query / heads, head = kv_head * heads + query % heads;
    out[(row * p.shape.n_heads + head) * width + d] = sum / total;
  }
}
