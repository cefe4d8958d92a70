// What the two tiled attention kernels share: eight queries of a simdgroup against keys on
// simdgroup matrices, everything in f32, with the running softmax in registers. Lane l belongs to
// the query l / 4 and holds a quarter of its scores at a time; what the four lanes know they know
// alike.
//
// Threadgroup memory: a step's keys, then in their place its values, [keys, width], written by all
// threads; then of each simdgroup its scores, [8, keys], and a matrix [8, 8] whose diagonal
// rescales what was summed under a smaller maximum. Keys outside of what a tile of work may see are
// zeros, whatever their pages hold, so that a weight of zero times them is zero.
#pragma once

#include "metal/kv_read.h"

// A query of a tile: which values of q and out, and what it sees.
struct QueryPlace {
  long at;  // -1 if there is no such query
  int first_key, last_key;
};

static inline QueryPlace place_query(device const AttendTile& tile, constant AttendShape& shape,
                                     int kv_head, int index) {
  if (index >= tile.n_queries) return {-1, 0, -1};
  const int heads = shape.n_heads / shape.n_kv_heads;
  const int query = tile.first_query + index, row = query / heads;
  const int pos = tile.first_pos + row;
  const long head = kv_head * heads + query % heads;
  return {((tile.first_row + row) * long(shape.n_heads) + head) * shape.head_width,
          shape.window > 0 && pos >= shape.window ? pos - shape.window + 1 : 0, pos};
}

// Where one KV head's keys and values of a sequence lie.
struct HeadPages {
  device const uint8_t* cache;
  device const int* pages;  // of the sequence
  KvType type;
  int n_kv_heads, kv_head, head_width;
};

// Keys (or values) first .. first + kKeys - 1 to threadgroup memory; those outside begin .. end - 1
// as zeros.
template <int kWidth, int kKeys>
static inline void load_keys(threadgroup float* to, thread const HeadPages& from, bool values,
                             int first, int begin, int end, int thread_index, int n_threads) {
  const KvPageLayout layout = kv_page_layout(from.type, from.head_width);
  for (int i = thread_index; i < kKeys * kWidth; i += n_threads) {
    const int key = first + i / kWidth, d = i % kWidth;
    float value = 0;
    if (key >= begin && key < end && d < from.head_width) {
      const KvPart part = kv_part(from.cache, from.pages[key / kPageTokens], from.kv_head,
                                  from.n_kv_heads, layout, values);
      value = read_kv(from.type, part, layout, key % kPageTokens, d);
    }
    to[i] = value;
  }
}

// The running state of a simdgroup's eight queries.
template <int kWidth>
struct QueryTile {
  enum { kKeys = attend_keys(kWidth), kQuarter = kKeys / 4 };

  simdgroup_float8x8 query[kWidth / 8];
  simdgroup_float8x8 out[kWidth / 8];  // weighted values, not yet divided
  QueryPlace place;                    // of this lane's query
  float top, total;                    // largest score in units of log2, sum of the weights
  int lane;
  threadgroup float* scores;
  threadgroup float* diagonal;

  int row() const { return lane / 4; }
  int first_col() const { return lane % 4 * kQuarter; }

  // Takes the queries' values, kKeys columns at a time by way of the place of the scores.
  void begin(QueryPlace own_place, device const float* q, int width, threadgroup float* own,
             int own_lane) {
    place = own_place;
    lane = own_lane;
    scores = own;
    diagonal = own + kSimdQueries * kKeys;
    top = -INFINITY;
    total = 0;
    for (int first = 0; first < kWidth; first += kKeys) {
      for (int i = 0; i < kQuarter; ++i) {
        const int d = first + first_col() + i;
        scores[row() * kKeys + first_col() + i] =
            place.at >= 0 && d < width ? q[place.at + d] : 0.0f;
      }
      simdgroup_barrier(mem_flags::mem_threadgroup);
      for (int n = 0; n < kKeys / 8; ++n) {
        simdgroup_load(query[first / 8 + n], scores + 8 * n, kKeys);
        out[first / 8 + n] = make_filled_simdgroup_matrix<float, 8>(0.0f);
      }
      simdgroup_barrier(mem_flags::mem_threadgroup);
    }
    diagonal[lane] = 0;
    diagonal[kSimd + lane] = 0;
  }

  // Scores of the keys in threadgroup memory, made weights under a raised maximum; what was summed
  // before is rescaled.
  void weigh(threadgroup const float* keys, int first_key, constant AttendShape& shape) {
    for (int n = 0; n < kKeys / 8; ++n) {
      simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8>(0.0f);
      for (int d = 0; d < kWidth / 8; ++d) {
        simdgroup_float8x8 key;
        simdgroup_load(key, keys + 8 * n * kWidth + 8 * d, kWidth, ulong2(0, 0), true);
        simdgroup_multiply_accumulate(sum, query[d], key, sum);
      }
      simdgroup_store(sum, scores + 8 * n, kKeys);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    threadgroup float* own = scores + row() * kKeys + first_col();
    const float log2_of_e = 1.4426950408889634f;
    float largest = top, score[kQuarter];
    for (int i = 0; i < kQuarter; ++i) {
      const int key = first_key + first_col() + i;
      float x = own[i] * shape.scale;
      if (shape.softcap > 0) x = shape.softcap * tanh(x / shape.softcap);
      score[i] = key >= place.first_key && key <= place.last_key ? x * log2_of_e : -INFINITY;
      largest = fmax(largest, score[i]);
    }
    largest = fmax(largest, simd_shuffle_xor(largest, 1));
    largest = fmax(largest, simd_shuffle_xor(largest, 2));
    const float base = largest == -INFINITY ? 0.0f : largest;  // no key seen yet
    const float shrink = exp2(top - base);
    top = largest;
    float sum = 0;
    for (int i = 0; i < kQuarter; ++i) {
      own[i] = exp2(score[i] - base);
      sum += own[i];
    }
    sum += simd_shuffle_xor(sum, 1);
    sum += simd_shuffle_xor(sum, 2);
    total = fma(total, shrink, sum);
    if (lane % 4 == 0) diagonal[row() * 9] = shrink;
    simdgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_float8x8 rescale;
    simdgroup_load(rescale, diagonal, 8);
    for (int d = 0; d < kWidth / 8; ++d) {
      simdgroup_float8x8 zeros = make_filled_simdgroup_matrix<float, 8>(0.0f);
      simdgroup_multiply_accumulate(out[d], rescale, out[d], zeros);
    }
  }

  void add_values(threadgroup const float* values) {
    for (int n = 0; n < kKeys / 8; ++n) {
      simdgroup_float8x8 weights;
      simdgroup_load(weights, scores + 8 * n, kKeys);
      for (int d = 0; d < kWidth / 8; ++d) {
        simdgroup_float8x8 value;
        simdgroup_load(value, values + 8 * n * kWidth + 8 * d, kWidth);
        simdgroup_multiply_accumulate(out[d], weights, value, out[d]);
      }
    }
  }

  // Writes the sums, times `factor`, to `to` for this lane's query, kKeys columns at a time.
  void write(device float* to, int width, float factor) {
    for (int first = 0; first < kWidth; first += kKeys) {
      simdgroup_barrier(mem_flags::mem_threadgroup);
      for (int n = 0; n < kKeys / 8; ++n)
        simdgroup_store(out[first / 8 + n], scores + 8 * n, kKeys);
      simdgroup_barrier(mem_flags::mem_threadgroup);
      if (place.at < 0) continue;
      for (int i = 0; i < kQuarter; ++i) {
        const int d = first + first_col() + i;
        if (d < width) to[d] = scores[row() * kKeys + first_col() + i] * factor;
      }
    }
  }
};

// Runs a tile of work over its keys: kSimds simdgroups of eight queries each, in steps that begin
// at absolute multiples of kKeys, so a query's bits do not depend on its company in the tile.
template <int kWidth, int kSimds>
static inline void attend_tile(thread QueryTile<kWidth>& queries, thread const HeadPages& head,
                               device const AttendTile& tile, constant AttendParams& p,
                               device const float* q, threadgroup uchar* shared, int simd,
                               int lane) {
  enum { kKeys = attend_keys(kWidth), kThreads = kSimds * kSimd };
  threadgroup float* keys = (threadgroup float*)shared;
  queries.begin(place_query(tile, p.shape, head.kv_head, simd * kSimdQueries + lane / 4), q,
                p.shape.head_width, keys + kKeys * kWidth + simd * kSimdQueries * (kKeys + 8),
                lane);
  const int thread_index = simd * kSimd + lane;
  for (int first = tile.first_key / kKeys * kKeys; first < tile.end_key; first += kKeys) {
    load_keys<kWidth, kKeys>(keys, head, false, first, tile.first_key, tile.end_key, thread_index,
                             kThreads);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    queries.weigh(keys, first, p.shape);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // everyone is done with the keys
    load_keys<kWidth, kKeys>(keys, head, true, first, tile.first_key, tile.end_key, thread_index,
                             kThreads);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    queries.add_values(keys);
    threadgroup_barrier(mem_flags::mem_threadgroup);  // before the next step's keys
  }
}
