// The first logits of each row in order of preference: larger before smaller, of equal ones the
// lower token first (-0 equals +0). A block a row. One logit is found in one pass; for more, the
// bits of the last one that is listed are found digit by digit (11, 11 and 10 of them) by counting,
// then what lies above it is collected, with as many of its equals as there is room for, lowest
// tokens first, and sorted. Which threads count what leaves no trace in the result. A row that
// holds a NaN or an infinity gets an empty list.
//
// `out` is [T, 1 + width]: the first entry's token is how many follow. Bytes moved: the logits once
// for one, five times for more. Oracle: std::sort.
#include "cuda/device/atomic.cuh"
#include "cuda/device/numbers.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarp;
constexpr int kBins = 2048, kBinsPerThread = kBins / kThreads;
static_assert(kMaxShortlist <= kThreads && (kMaxShortlist & (kMaxShortlist - 1)) == 0);

// Unsigned numbers in the order of the floats.
REALM_DEVICE uint32_t order_of(float logit) {
  const uint32_t bits = float_as_bits(logit + 0.0f);  // -0 becomes +0
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

REALM_DEVICE bool is_finite(float x) {
  return fabsf(x) <= 3.402823466e38f;  // false for NaN
}

// Larger keys come first.
REALM_DEVICE uint64_t key_of(float logit, int token) {
  return uint64_t{order_of(logit)} << 32 | (0xffffffffu - static_cast<uint32_t>(token));
}
REALM_DEVICE int token_of(uint64_t key) {
  return static_cast<int>(0xffffffffu - static_cast<uint32_t>(key));
}

// A list of one.
REALM_DEVICE void choose_one(const float* row, int n_cols, TopLogit* out) {
  REALM_SHARED(uint64_t, best_of_warp, kWarps);
  REALM_SHARED(uint32_t, odd_of_warp, kWarps);
  uint64_t best = 0;
  bool odd = false;
  for (int i = static_cast<int>(threadIdx.x); i < n_cols; i += kThreads) {
    const uint64_t key = key_of(row[i], i);
    best = key > best ? key : best;
    odd = odd || !is_finite(row[i]);
  }
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const uint64_t other = shuffle_xor(best, mask);
    best = other > best ? other : best;
  }
  const uint32_t votes = ballot(odd);
  if (lane_index() == 0) {
    best_of_warp[warp_index()] = best;
    odd_of_warp[warp_index()] = votes;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  uint32_t any = 0;
  for (int w = 0; w < kWarps; ++w) {
    best = best_of_warp[w] > best ? best_of_warp[w] : best;
    any |= odd_of_warp[w];
  }
  out[0] = {0, any ? 0 : 1};
  out[1] = {row[token_of(best)], token_of(best)};
}

// The bin, from the highest down, in which the `wanted`-th falls, and what is above that bin; of
// warp 0, to shared memory.
REALM_DEVICE void find_bin(const int* bins, int* sums, int wanted, int* found) {
  int sum = 0;
  for (int i = 0; i < kBinsPerThread; ++i) sum += bins[threadIdx.x * kBinsPerThread + i];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp_index() == 0) {
    int mine = 0;
    for (int i = 0; i < kWarps; ++i) mine += sums[lane_index() * kWarps + i];
    int above = 0;  // in the lanes after this one
    for (int lane = kWarp - 1; lane > 0; --lane) {
      const int theirs = shuffle(mine, lane);
      above += lane > lane_index() ? theirs : 0;
    }
    if (above < wanted && wanted <= above + mine) {
      int thread = lane_index() * kWarps + kWarps - 1;
      while (above + sums[thread] < wanted) above += sums[thread--];
      int bin = thread * kBinsPerThread + kBinsPerThread - 1;
      while (above + bins[bin] < wanted) above += bins[bin--];
      found[0] = bin;
      found[1] = above;
    }
  }
  __syncthreads();
}

// Descending, by a bitonic network.
REALM_DEVICE void sort_keys(uint64_t* keys) {
  const int i = static_cast<int>(threadIdx.x);
  for (int run = 2; run <= kMaxShortlist; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      const int other = i ^ step;
      if (i < kMaxShortlist && other > i) {
        const uint64_t a = keys[i], b = keys[other];
        if ((i & run) == 0 ? a < b : a > b) {
          keys[i] = b;
          keys[other] = a;
        }
      }
      __syncthreads();
    }
  }
}

REALM_DEVICE void list_many(const float* row, int n_cols, int width, TopLogit* out) {
  REALM_SHARED(int, bins, kBins);
  REALM_SHARED(int, sums, kThreads);
  REALM_SHARED(int, found, 2);
  REALM_SHARED(int, counters, 2);  // logits that are not finite; logits collected
  REALM_SHARED(int, equals, kWarps);
  REALM_SHARED(uint64_t, keys, kMaxShortlist);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < 2) counters[thread] = 0;

  // The bits that are known of the last one, and how many are above all that begin with them.
  uint32_t prefix = 0, known = 0;
  int n_above = 0;
  for (int pass = 0; pass < 3; ++pass) {
    const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
    const uint32_t digit = pass == 2 ? 0x3ffu : 0x7ffu;
    for (int i = thread; i < kBins; i += kThreads) bins[i] = 0;
    __syncthreads();
    for (int i = thread; i < n_cols; i += kThreads) {
      const uint32_t order = order_of(row[i]);
      if (pass == 0 && !is_finite(row[i])) atomic_add(&counters[0], 1);
      if ((order & known) == prefix) atomic_add(&bins[order >> shift & digit], 1);
    }
    __syncthreads();
    if (counters[0] > 0) {  // all threads see the same
      if (thread == 0) out[0] = {0, 0};
      return;
    }
    find_bin(bins, sums, width - n_above, found);
    prefix |= static_cast<uint32_t>(found[0]) << shift;
    known |= digit << shift;
    n_above += found[1];
  }

  // Each warp has a stretch of tokens, so that equals are counted in the order of tokens.
  const int stretch = div_up(div_up(n_cols, kWarps), kWarp) * kWarp;
  const int first = warp_index() * stretch,
            end = first + stretch < n_cols ? first + stretch : n_cols;
  int n_equal = 0;
  for (int base = first; base < end; base += kWarp) {
    const int i = base + lane_index();
    const bool inside = i < end;
    const uint32_t order = inside ? order_of(row[i]) : 0;
    if (inside && order > prefix) keys[atomic_add(&counters[1], 1)] = key_of(row[i], i);
    n_equal += count_bits(ballot(inside && order == prefix));
  }
  if (lane_index() == 0) equals[warp_index()] = n_equal;
  __syncthreads();
  int place = n_above;
  for (int w = 0; w < warp_index(); ++w) place += equals[w];
  for (int base = first; base < end && place < width; base += kWarp) {
    const int i = base + lane_index();
    const bool equal = i < end && order_of(row[i]) == prefix;
    const uint32_t votes = ballot(equal);
    const int mine = place + count_bits(votes & ((1u << lane_index()) - 1));
    if (equal && mine < width) keys[mine] = key_of(row[i], i);
    place += count_bits(votes);
  }
  if (thread >= width && thread < kMaxShortlist) keys[thread] = 0;
  __syncthreads();
  sort_keys(keys);
  if (thread == 0) out[0] = {0, width};
  if (thread < width) {
    const int token = token_of(keys[thread]);
    out[1 + thread] = {row[token], token};
  }
}

__global__ void __launch_bounds__(kThreads)
    shortlist_kernel(const float* logits, int n_cols, int width, TopLogit* out) {
  const float* row = logits + int64_t{blockIdx.x} * n_cols;
  TopLogit* list = out + int64_t{blockIdx.x} * (1 + width);
  if (width == 1) {
    choose_one(row, n_cols, list);
  } else {
    list_many(row, n_cols, width, list);
  }
}

}  // namespace

void launch_shortlist(const float* logits, int64_t n_rows, int64_t n_cols, int64_t width,
                      TopLogit* out, Stream stream) {
  REALM_LAUNCH(shortlist_kernel, dim3(static_cast<unsigned>(n_rows)), dim3(kThreads), 0, stream,
               logits, static_cast<int>(n_cols), static_cast<int>(width), out);
}

}  // namespace realm::cuda
