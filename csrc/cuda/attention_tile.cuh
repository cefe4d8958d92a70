// What the two tiled attention kernels share: a warp's sixteen queries against some keys on the
// matrix unit, with the running softmax in registers. Lane l holds the queries g = l / 4 and g + 8.
//
// Tiles of keys and values lie in shared memory as 16-bit rows kWidth + 8 apart (an odd number of
// 16-byte pieces: no bank conflicts). Keys outside of what a tile of work may see are zeros there,
// whatever their pages hold, so that a weight of zero times them is zero.
#pragma once

#include "cuda/device/async_copy.cuh"
#include "cuda/device/mma.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

struct HalfCache {
  static constexpr KvType kType = KvType::kF16;
  using Format = HalfFormat;
};
struct BrainCache {
  static constexpr KvType kType = KvType::kBF16;
  using Format = BrainFormat;
};
struct ByteCache {  // widened to halves on the way to shared memory
  static constexpr KvType kType = KvType::kQ8_0;
  using Format = HalfFormat;
};

// Where one KV head's keys and values of a sequence lie.
struct HeadPages {
  const uint8_t* head;  // this head's part of page 0
  int64_t page_bytes;
  const int32_t* pages;  // of the sequence
  KvPageLayout layout;

  REALM_DEVICE const uint8_t* page_of(int key) const {
    return head + pages[key / kPageTokens] * page_bytes;
  }
};

REALM_DEVICE HeadPages head_pages(const KvPages& cache, const int32_t* pages, int kv_head) {
  const KvPageLayout layout = kv_page_layout(cache.type, cache.head_width);
  return {cache.data + kv_head * layout.head_bytes, cache.n_kv_heads * layout.head_bytes, pages,
          layout};
}

// Eight elements of a key or value of a Q8_0 page as halves.
REALM_DEVICE Words4 widen_bytes(const int8_t* bytes, float scale) {
  Words4 words;
  REALM_UNROLL
  for (int i = 0; i < 4; ++i) {
    words.w[i] = narrow_pair<HalfFormat>(scale * static_cast<float>(bytes[2 * i]),
                                         scale * static_cast<float>(bytes[2 * i + 1]));
  }
  return words;
}

// Keys (or values) first .. first + kKeys - 1 to shared memory, by `n_threads` threads of which
// this is `thread`; those outside begin .. end - 1 as zeros. F16 and BF16 arrive with the commit.
template <class Cache, int kWidth, int kKeys>
REALM_DEVICE void load_keys(uint16_t* to, const HeadPages& from, bool values, int first, int begin,
                            int end, int thread, int n_threads) {
  constexpr int kChunks = kWidth / 8;
  const KvPageLayout& layout = from.layout;
  const int64_t elements_at = values ? layout.v : 0;
  for (int i = thread; i < kKeys * kChunks; i += n_threads) {
    const int row = i / kChunks, d = i % kChunks * 8, key = first + row;
    const bool inside = key >= begin && key < end && d < layout.padded_width;
    uint16_t* place = to + row * (kWidth + 8) + d;
    const uint8_t* page = inside ? from.page_of(key) : from.head;
    const int at = inside ? key % kPageTokens * layout.padded_width + d : 0;
    if constexpr (Cache::kType == KvType::kQ8_0) {
      Words4 words{};
      if (inside) {
        const auto* scales =
            reinterpret_cast<const uint16_t*>(page + (values ? layout.v_scales : layout.k_scales));
        const float scale =
            half_to_float(scales[key % kPageTokens * layout.n_groups + d / kKvGroup]);
        words = widen_bytes(reinterpret_cast<const int8_t*>(page + elements_at) + at, scale);
      }
      *reinterpret_cast<Words4*>(place) = words;
    } else {
      copy16_async(place, reinterpret_cast<const uint16_t*>(page + elements_at) + at, inside);
    }
  }
}

// A query of a tile: which row of the step, which head, and what it sees.
struct QueryPlace {
  int64_t at;  // of its values in q and out; -1 if there is no such query
  int first_key, last_key;
};

REALM_DEVICE QueryPlace place_query(const AttendTile& tile, const AttendShape& shape, int kv_head,
                                    int index) {
  if (index >= tile.n_queries) return {-1, 0, -1};
  const int group = shape.n_heads / shape.n_kv_heads;
  const int query = tile.first_query + index, row = query / group;
  const int head = kv_head * group + query % group;
  const int pos = tile.first_pos + row;
  const int64_t at = ((int64_t{tile.first_row} + row) * shape.n_heads + head) * shape.head_width;
  return {at, shape.window > 0 && pos >= shape.window ? pos - shape.window + 1 : 0, pos};
}

// The running state of a warp's sixteen queries.
template <class Format, int kWidth>
struct QueryTile {
  static constexpr int kSteps = kWidth / 16;  // of the matrix unit along the head
  // Fragments of wide heads stay in shared memory: registers hold their sums already.
  static constexpr bool kSharedQuery = kWidth > 128;
  static constexpr int kSharedBytes = kSharedQuery ? kSteps * kWarp * 16 : 0;  // of a warp
  static constexpr float kLog2e = 1.4426950408889634f;

  QueryPlace place[2];                           // of the queries g and g + 8
  Words4* shared_query;                          // [kSteps, lanes]: each lane reads back its own
  uint32_t query[kSharedQuery ? 1 : kSteps][4];  // as fragments
  float out[kWidth / 8][4];                      // weighted values, not yet divided
  float top[2], total[2];  // largest score in units of log2, sum of the weights

  REALM_DEVICE void begin(const QueryPlace& low, const QueryPlace& high, const float* q, int width,
                          void* shared) {
    place[0] = low;
    place[1] = high;
    shared_query = static_cast<Words4*>(shared);
    REALM_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      Words4 words;
      REALM_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int d = step * 16 + lane_index() % 4 * 2 + 8 * (i / 2);
        const QueryPlace& at = place[i % 2];
        const float x = at.at >= 0 && d < width ? q[at.at + d] : 0.0f;
        const float y = at.at >= 0 && d + 1 < width ? q[at.at + d + 1] : 0.0f;
        words.w[i] = narrow_pair<Format>(x, y);
        if (!kSharedQuery) query[kSharedQuery ? 0 : step][i] = words.w[i];
      }
      if (kSharedQuery) shared_query[step * kWarp + lane_index()] = words;
    }
    REALM_UNROLL
    for (int n = 0; n < kWidth / 8; ++n) {
      REALM_UNROLL
      for (int i = 0; i < 4; ++i) out[n][i] = 0;
    }
    top[0] = top[1] = -INFINITY;
    total[0] = total[1] = 0;
  }

  // Scores of the keys first_key .. in shared memory, masked, in units of log2.
  template <int kKeys>
  REALM_DEVICE void score(float (&s)[kKeys / 8][4], const uint16_t* keys, int first_key,
                          const AttendShape& shape) const {
    const int lane = lane_index();
    REALM_UNROLL
    for (int n = 0; n < kKeys / 8; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
    REALM_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      uint32_t a[4];
      const Words4 words = kSharedQuery ? shared_query[step * kWarp + lane] : Words4{};
      REALM_UNROLL
      for (int i = 0; i < 4; ++i)
        a[i] = kSharedQuery ? words.w[i] : query[kSharedQuery ? 0 : step][i];
      REALM_UNROLL
      for (int n = 0; n < kKeys / 8; n += 2) {
        uint32_t pair[4];
        load_matrices(pair, keys + (n * 8 + lane / 16 * 8 + lane % 8) * (kWidth + 8) + step * 16 +
                                lane / 8 % 2 * 8);
        const uint32_t b0[2] = {pair[0], pair[1]}, b1[2] = {pair[2], pair[3]};
        multiply_add<Format>(s[n], a, b0);
        multiply_add<Format>(s[n + 1], a, b1);
      }
    }
    const float to_log2 = shape.softcap > 0 ? kLog2e : shape.scale * kLog2e;
    REALM_UNROLL
    for (int n = 0; n < kKeys / 8; ++n) {
      REALM_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int key = first_key + n * 8 + lane % 4 * 2 + i % 2;
        const QueryPlace& at = place[i / 2];
        float x = s[n][i];
        if (shape.softcap > 0) x = shape.softcap * tanhf(x * shape.scale / shape.softcap);
        s[n][i] = key >= at.first_key && key <= at.last_key ? x * to_log2 : -INFINITY;
      }
    }
  }

  // Turns scores into weights under a raised maximum, and rescales what was summed before.
  template <int kKeys>
  REALM_DEVICE void weigh(float (&s)[kKeys / 8][4]) {
    REALM_UNROLL
    for (int half = 0; half < 2; ++half) {
      float largest = top[half];
      REALM_UNROLL
      for (int n = 0; n < kKeys / 8; ++n)
        largest = fmaxf(largest, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
      largest = fmaxf(largest, shuffle_xor(largest, 1));
      largest = fmaxf(largest, shuffle_xor(largest, 2));
      const float base = largest == -INFINITY ? 0.0f : largest;  // no key seen yet
      const float shrink = exp2f(top[half] - base);
      top[half] = largest;
      float sum = 0;
      REALM_UNROLL
      for (int n = 0; n < kKeys / 8; ++n) {
        REALM_UNROLL
        for (int e = 0; e < 2; ++e) {
          const float weight = exp2f(s[n][2 * half + e] - base);
          s[n][2 * half + e] = weight;
          sum += weight;
        }
      }
      total[half] = fmaf(total[half], shrink, sum);  // this lane's part of the sum
      REALM_UNROLL
      for (int n = 0; n < kWidth / 8; ++n) {
        out[n][2 * half] *= shrink;
        out[n][2 * half + 1] *= shrink;
      }
    }
  }

  template <int kKeys>
  REALM_DEVICE void add_values(const float (&s)[kKeys / 8][4], const uint16_t* values) {
    const int lane = lane_index();
    REALM_UNROLL
    for (int k = 0; k < kKeys / 16; ++k) {
      const uint32_t weights[4] = {narrow_pair<Format>(s[2 * k][0], s[2 * k][1]),
                                   narrow_pair<Format>(s[2 * k][2], s[2 * k][3]),
                                   narrow_pair<Format>(s[2 * k + 1][0], s[2 * k + 1][1]),
                                   narrow_pair<Format>(s[2 * k + 1][2], s[2 * k + 1][3])};
      REALM_UNROLL
      for (int n = 0; n < kWidth / 8; n += 2) {
        uint32_t pair[4];
        load_matrices_turned(pair,
                             values + (k * 16 + lane % 16) * (kWidth + 8) + n * 8 + lane / 16 * 8);
        const uint32_t b0[2] = {pair[0], pair[1]}, b1[2] = {pair[2], pair[3]};
        multiply_add<Format>(out[n], weights, b0);
        multiply_add<Format>(out[n + 1], weights, b1);
      }
    }
  }

  // Adds up what the four lanes of a query summed.
  REALM_DEVICE void finish() {
    REALM_UNROLL
    for (int half = 0; half < 2; ++half) {
      total[half] += shuffle_xor(total[half], 1);
      total[half] += shuffle_xor(total[half], 2);
    }
  }
};

// Calls f with the smallest head width that has kernels and holds `width`, and the cache's class.
template <int kWidth>
struct WidthTag {
  static constexpr int kValue = kWidth;
};
template <class F>
void with_width(int width, F f) {
  if (width <= 64) return f(WidthTag<64>{});
  if (width <= 80) return f(WidthTag<80>{});
  if (width <= 96) return f(WidthTag<96>{});
  if (width <= 128) return f(WidthTag<128>{});
  f(WidthTag<256>{});
}
template <class F>
void with_cache(KvType type, F f) {
  if (type == KvType::kF16) return f(HalfCache{});
  if (type == KvType::kBF16) return f(BrainCache{});
  f(ByteCache{});
}

}  // namespace realm::cuda
