// Paged attention in f32, a simdgroup for each row and head: the slow obvious version, the oracle
// of the tiled kernels, and what serves head widths that those have no tile for. A tile is a page
// of 32 keys, a lane a key for the scores, a lane every 32nd element for the values; tiles ascend
// from the row's first key. Masked keys are not read. Oracle: float64.
#include "metal/kv_read.h"

kernel void attention_plain_kernel(
    device const uint8_t* cache [[buffer(0)]], device const int* rows [[buffer(1)]],
    device const float* q [[buffer(2)]], device float* out [[buffer(3)]],
    constant AttendParams& p [[buffer(4)]], threadgroup uchar* shared [[threadgroup(0)]],
    uint group [[threadgroup_position_in_grid]], uint simd [[simdgroup_index_in_threadgroup]],
    uint thread_lane [[thread_index_in_simdgroup]]) {
  const long index = long(group) * kPlainSimds + simd;
  if (index >= p.n_rows * p.shape.n_heads) return;
  const long row = index / p.shape.n_heads;
  const int head = int(index % p.shape.n_heads);
  const int kv_head = head / (p.shape.n_heads / p.shape.n_kv_heads);
  const int width = p.shape.head_width, lane = int(thread_lane);
  threadgroup float* query = (threadgroup float*)shared + simd * (kMaxHeadWidth + 2 * kSimd);
  for (int d = lane; d < width; d += kSimd) query[d] = q[index * width + d];
  simdgroup_barrier(mem_flags::mem_threadgroup);

  const KvPageLayout layout = kv_page_layout(p.type, width);
  device const int* pages = rows + 3 * p.n_rows + rows[2 * p.n_rows + row];
  const int last = rows[row], window = p.shape.window;
  const int first = window > 0 && last >= window ? last - window + 1 : 0;
  float top = -INFINITY, total = 0, sums[kMaxHeadWidth / kSimd] = {};
  for (int tile = first / kPageTokens; tile <= last / kPageTokens; ++tile) {
    const KvPart keys = kv_part(cache, pages[tile], kv_head, p.shape.n_kv_heads, layout, false);
    const KvPart values = kv_part(cache, pages[tile], kv_head, p.shape.n_kv_heads, layout, true);
    const int key = tile * kPageTokens + lane;
    float score = -INFINITY;
    if (key >= first && key <= last) {
      float product = 0;
      for (int d = 0; d < width; ++d)
        product = fma(query[d], read_kv(p.type, keys, layout, lane, d), product);
      score = product * p.shape.scale;
      if (p.shape.softcap > 0) score = p.shape.softcap * tanh(score / p.shape.softcap);
    }
    const float new_top = fmax(top, simd_max(score));
    const float shrink = top == -INFINITY ? 0.0f : exp(top - new_top);
    const float mine = score == -INFINITY ? 0.0f : exp(score - new_top);
    top = new_top;
    total = fma(total, shrink, simd_sum(mine));
    // Turn by turn: some lanes may still read the last tile's.
    threadgroup float* weights = query + kMaxHeadWidth + tile % 2 * kSimd;
    weights[lane] = mine;
    simdgroup_barrier(mem_flags::mem_threadgroup);
    const int begin = max(first - tile * kPageTokens, 0);
    const int end = min(last - tile * kPageTokens, kPageTokens - 1);
    for (int e = 0; e < kMaxHeadWidth / kSimd; ++e) {
      const int d = e * kSimd + lane;
      if (d >= width) continue;
      sums[e] *= shrink;
      for (int i = begin; i <= end; ++i)
        sums[e] = fma(weights[i], read_kv(p.type, values, layout, i, d), sums[e]);
    }
  }
  for (int e = 0; e < kMaxHeadWidth / kSimd; ++e) {
    const int d = e * kSimd + lane;
    if (d < width) out[index * width + d] = sums[e] / total;
  }
}
