// Attention of many queries of a sequence: a threadgroup takes a tile of up to kFlashQueries
// queries of one KV head (rows and the heads of the group together), a simdgroup eight of them,
// over the keys of the tile. Grid: tiles x KV heads. Operations: 4 * queries * keys * width.
// Oracle: attention_plain.
#include "metal/attention_tile.h"

template <int kWidth>
[[max_total_threads_per_threadgroup(256)]] kernel void attention_flash_kernel(
    device const uint8_t* cache [[buffer(0)]], device const int* pages [[buffer(1)]],
    device const AttendTile* tiles [[buffer(2)]], device const float* q [[buffer(3)]],
    device float* out [[buffer(4)]], constant AttendParams& p [[buffer(5)]],
    threadgroup uchar* shared [[threadgroup(0)]], uint2 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  device const AttendTile& tile = tiles[group.x];
  const HeadPages head = {cache,        pages + tile.first_page, p.type, p.shape.n_kv_heads,
                          int(group.y), p.shape.head_width};
  QueryTile<kWidth> queries;
  attend_tile<kWidth, kFlashSimds>(queries, head, tile, p, q, shared, int(simd), int(lane));
  queries.write(out + queries.place.at, p.shape.head_width, 1.0f / queries.total);
}

typedef decltype(attention_flash_kernel<64>) attention_flash_t;
template [[host_name("attention_flash_64")]] kernel attention_flash_t attention_flash_kernel<64>;
template [[host_name("attention_flash_96")]] kernel attention_flash_t attention_flash_kernel<96>;
template [[host_name("attention_flash_128")]] kernel attention_flash_t attention_flash_kernel<128>;
template [[host_name("attention_flash_256")]] kernel attention_flash_t attention_flash_kernel<256>;
