// Paged attention in f32, a warp for each row and head: the slow obvious version, the oracle of the
// tiled kernels, and what serves f32 caches and head widths that those have no tile for. A tile is
// a page of 32 keys, a lane a key for the scores, a lane every 32nd element for the values; tiles
// ascend from the row's first key. Masked keys are not read. Oracle: float64.
#include "cuda/device/warp.cuh"
#include "cuda/kernels.h"
#include "cuda/kv_read.cuh"

namespace realm::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kElements = kMaxHeadWidth / kWarp;  // of the output, held by a lane
static_assert(kPageTokens == kWarp, "a lane takes a key of the page");

template <KvType kType>
__global__ void __launch_bounds__(kThreads)
    attention_plain_kernel(KvPages cache, StepRows rows, AttendShape shape, const float* q,
                           float* out) {
  REALM_SHARED(float, queries, kWarps* kMaxHeadWidth);
  REALM_SHARED(float, weights, kWarps* kWarp);
  const int64_t index = int64_t{blockIdx.x} * kWarps + warp_index();
  if (index >= rows.n_rows * shape.n_heads) return;
  const int64_t row = index / shape.n_heads, head = index % shape.n_heads;
  const int64_t kv_head = head / (shape.n_heads / shape.n_kv_heads);
  const int width = shape.head_width, lane = lane_index();
  float* query = queries + warp_index() * kMaxHeadWidth;
  float* weight = weights + warp_index() * kWarp;
  for (int d = lane; d < width; d += kWarp) query[d] = q[index * width + d];
  __syncwarp();

  const KvPageLayout layout = kv_page_layout(kType, width);
  const int last = rows.positions[row];
  const int first = shape.window > 0 && last >= shape.window ? last - shape.window + 1 : 0;
  const float low = -INFINITY;
  float top = low, total = 0, sums[kElements] = {};
  for (int tile = first / kPageTokens; tile <= last / kPageTokens; ++tile) {
    const int64_t page = rows.pages[rows.first_pages[row] + tile];
    const uint8_t* base = cache.data + (page * cache.n_kv_heads + kv_head) * layout.head_bytes;
    const KvPart keys{base, base + layout.k_scales},
        values{base + layout.v, base + layout.v_scales};
    const int key = tile * kPageTokens + lane;
    float score = low;
    if (key >= first && key <= last) {
      float dot = 0;
      for (int d = 0; d < width; ++d)
        dot = fmaf(query[d], read_kv<kType>(keys, layout, lane, d), dot);
      score = dot * shape.scale;
      if (shape.softcap > 0) score = shape.softcap * tanhf(score / shape.softcap);
    }
    const float new_top = fmaxf(top, warp_max(score));
    const float shrink = top == low ? 0.0f : expf(top - new_top);
    const float mine = score == low ? 0.0f : expf(score - new_top);
    top = new_top;
    total = fmaf(total, shrink, warp_sum(mine));
    weight[lane] = mine;
    __syncwarp();
    const int begin = first > tile * kPageTokens ? first - tile * kPageTokens : 0;
    const int end =
        last - tile * kPageTokens < kPageTokens - 1 ? last - tile * kPageTokens : kPageTokens - 1;
    REALM_UNROLL
    for (int e = 0; e < kElements; ++e) {
      const int d = e * kWarp + lane;
      if (d >= width) continue;
      sums[e] *= shrink;
      for (int i = begin; i <= end; ++i)
        sums[e] = fmaf(weight[i], read_kv<kType>(values, layout, i, d), sums[e]);
    }
    __syncwarp();  // before the next tile's weights
  }
  REALM_UNROLL
  for (int e = 0; e < kElements; ++e) {
    const int d = e * kWarp + lane;
    if (d < width) out[index * width + d] = sums[e] / total;
  }
}

}  // namespace

void launch_attention_plain(const KvPages& cache, const StepRows& rows, const AttendShape& shape,
                            const float* q, float* out, Stream stream) {
  const dim3 grid(static_cast<unsigned>(div_up<int64_t>(rows.n_rows * shape.n_heads, kWarps)));
  const auto launch = [&](auto kernel) {
    REALM_LAUNCH(kernel, grid, dim3(kThreads), 0, stream, cache, rows, shape, q, out);
  };
  switch (cache.type) {
    case KvType::kF32:
      return launch(attention_plain_kernel<KvType::kF32>);
    case KvType::kF16:
      return launch(attention_plain_kernel<KvType::kF16>);
    case KvType::kBF16:
      return launch(attention_plain_kernel<KvType::kBF16>);
    case KvType::kQ8_0:
      return launch(attention_plain_kernel<KvType::kQ8_0>);
  }
}

}  // namespace realm::cuda
