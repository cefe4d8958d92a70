// The attention kernels of every CPU level: close to a double-precision reference over the values
// that the cache holds, bit-equal to the baseline level, and each query's bits its own.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/half.h"
#include "cpp/levels.h"
#include "cpu/kv_layout.h"

using namespace realm;
using namespace realm::cpu;
using test::at_every_level, test::Floats, test::random_floats, test::same_bits;

namespace {

constexpr KvType kTypes[] = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kQ8_0};

// A small paged cache of one KV head whose pages lie in a shuffled order, with NaN where nothing
// was written.
struct Cache {
  KvType type;
  int width;
  int64_t n_tokens;
  KvLayout layout = kv_layout(type, width);
  std::vector<int32_t> pages;
  std::vector<uint8_t> pool;
  Floats keys = random_floats(static_cast<size_t>(n_tokens * width), 10, 1.0f);
  Floats values = random_floats(static_cast<size_t>(n_tokens * width), 11, 1.0f);

  Cache(const Kernels& kernels, KvType t, int w, int64_t n) : type(t), width(w), n_tokens(n) {
    const int64_t n_pages = (n + 15) / 16;
    for (int64_t i = 0; i < n_pages; ++i) pages.push_back(static_cast<int32_t>(i));
    std::shuffle(pages.begin(), pages.end(), std::mt19937(12));
    pool.assign(static_cast<size_t>(n_pages * layout.bytes), 0xff);
    for (int64_t i = 0; i < n; ++i) store(kernels, i);
  }

  void store(const Kernels& kernels, int64_t i) {
    const auto at = static_cast<size_t>(i * width);
    uint8_t* page = pool.data() + pages[static_cast<size_t>(i / 16)] * layout.bytes;
    kernels.store_kv(type, width, &keys[at], &values[at], page, static_cast<int>(i % 16));
  }
};

struct Query {
  int64_t first_key, last_key;
};

Floats attend_all(const Kernels& kernels, const Cache& cache, const Floats& q,
                  const std::vector<Query>& queries, int together, float softcap) {
  const auto width = static_cast<size_t>(cache.width);
  Floats out(queries.size() * width, -1.0f);
  const int64_t padded = cache.layout.padded_width,
                n_states = together * attend_state_floats(padded);
  Floats memory(static_cast<size_t>(attend_scratch_floats(padded) + 2 * n_states),
                std::numeric_limits<float>::quiet_NaN());
  for (size_t begin = 0; begin < queries.size(); begin += static_cast<size_t>(together)) {
    AttendArgs args{};
    args.type = cache.type;
    args.head_width = cache.width;
    args.n_queries =
        static_cast<int>(std::min(queries.size() - begin, static_cast<size_t>(together)));
    for (int i = 0; i < args.n_queries; ++i) {
      const size_t at = begin + static_cast<size_t>(i);
      args.q[i] = &q[at * width];
      args.out[i] = &out[at * width];
      args.first_key[i] = queries[at].first_key;
      args.last_key[i] = queries[at].last_key;
    }
    args.scale = 0.3f;
    args.softcap = softcap;
    args.pool = cache.pool.data();
    args.page_bytes = cache.layout.bytes;
    args.pages = cache.pages.data();
    args.scratch = memory.data();
    float* total = args.scratch + attend_scratch_floats(padded);
    const int64_t first =
        *std::min_element(args.first_key, args.first_key + args.n_queries) / kStretchKeys;
    const int64_t last =
        *std::max_element(args.last_key, args.last_key + args.n_queries) / kStretchKeys;
    kernels.attend(args, first, total);
    for (int64_t stretch = first + 1; stretch <= last; ++stretch) {
      kernels.attend(args, stretch, total + n_states);
      kernels.merge_attention(args, stretch, total + n_states, total);
    }
    kernels.finish_attention(args, total);
  }
  return out;
}

std::vector<double> attend_in_double(const Cache& cache, const float* q, Query query,
                                     double softcap) {
  const int width = cache.width;
  std::vector<double> weights, out(static_cast<size_t>(width), 0.0);
  double total = 0;
  for (int64_t key = query.first_key; key <= query.last_key; ++key) {
    double score = 0;
    for (int d = 0; d < width; ++d)
      score += double(q[d]) * cache.keys[static_cast<size_t>(key * width + d)];
    score *= double(0.3f);
    if (softcap > 0) score = softcap * std::tanh(score / softcap);
    weights.push_back(std::exp(score));
    total += weights.back();
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    for (int d = 0; d < width; ++d) {
      const auto at = static_cast<size_t>((query.first_key + int64_t(i)) * width + d);
      out[static_cast<size_t>(d)] += weights[i] / total * cache.values[at];
    }
  }
  return out;
}

double tolerance(KvType type) {
  switch (type) {
    case KvType::kF32:
      return 3e-6;
    case KvType::kF16:
      return 3e-3;
    case KvType::kBF16:
    case KvType::kQ8_0:
      return 5e-2;
  }
  return 0;
}

void expect_near_double(const Cache& cache, const Floats& q, const std::vector<Query>& queries,
                        float softcap, const Floats& out) {
  const auto width = static_cast<size_t>(cache.width);
  for (size_t i = 0; i < queries.size(); ++i) {
    const auto truth = attend_in_double(cache, &q[i * width], queries[i], double(softcap));
    for (size_t d = 0; d < width; ++d) {
      EXPECT(test::near(out[i * width + d], truth[d], tolerance(cache.type)));
    }
  }
}

// Keys seen from the start, from within a page, within one page, within one block, across blocks.
const std::vector<Query> kRanges = {{0, 0},   {0, 130}, {3, 15},  {16, 31},  {30, 40},  {0, 63},
                                    {64, 64}, {17, 70}, {63, 64}, {60, 130}, {128, 130}};

}  // namespace

TEST(attention_matches_double_precision_and_ignores_unwritten_keys) {
  for (const KvType type : kTypes) {
    for (const int width : {8, 16, 64, 80, 96, 112, 128, 256, 512}) {
      const float softcap = width % 3 == 2 ? 2.0f : 0.0f;
      // Sharpness as in real models: scores of some units whatever the width.
      const Floats q =
          random_floats(kRanges.size() * size_t(width), 12, 8 / std::sqrt(float(width)));
      const Floats out = at_every_level([&](const Kernels& kernels) {
        return attend_all(kernels, Cache(kernels, type, width, 131), q, kRanges, 11, softcap);
      });
      const Cache cache(kernels_for(CpuLevel::kBaseline), type, width, 131);
      expect_near_double(cache, q, kRanges, softcap, out);
    }
  }
}

TEST(a_query_has_the_same_bits_alone_and_in_any_company) {
  std::vector<Query> queries;  // rows of a prompt with a window, three heads each
  for (int64_t i = 0; i < 66; ++i) queries.push_back({i > 50 ? i - 25 : 0, i + 70});
  for (size_t i = 0; i < 66; ++i) queries.insert(queries.begin() + long(3 * i), 2, queries[3 * i]);
  for (const KvType type : kTypes) {
    const Floats q = random_floats(queries.size() * 48, 13, 1.0f);
    for (const CpuLevel level : supported_cpu_levels()) {
      const Kernels& kernels = kernels_for(level);
      const Cache cache(kernels, type, 48, 136);
      const Floats alone = attend_all(kernels, cache, q, queries, 1, 0);
      for (const int together : {2, 3, 5, 7, 8, 9, 24, 64}) {
        EXPECT(same_bits(attend_all(kernels, cache, q, queries, together, 0), alone));
      }
    }
  }
}

TEST(contexts_of_several_stretches_match_double_precision) {
  const std::vector<Query> ranges = {{0, 2300},    {0, 1023},    {0, 1024},   {1000, 1100},
                                     {1024, 2300}, {2040, 2060}, {1500, 2047}};
  const Floats q = random_floats(ranges.size() * 32, 14, 1.0f);
  const Floats out = at_every_level([&](const Kernels& kernels) {
    const Cache cache(kernels, KvType::kF32, 32, 2301);
    const Floats alone = attend_all(kernels, cache, q, ranges, 1, 0);
    EXPECT(same_bits(attend_all(kernels, cache, q, ranges, 7, 0), alone));
    return alone;
  });
  const Cache cache(kernels_for(CpuLevel::kBaseline), KvType::kF32, 32, 2301);
  expect_near_double(cache, q, ranges, 0, out);
}

TEST(what_a_later_key_holds_does_not_reach_an_earlier_query) {
  const std::vector<Query> queries = {{0, 9}, {0, 10}, {0, 11}, {11, 20}, {10, 20}};
  const Floats q = random_floats(queries.size() * 16, 15, 1.0f);
  for (const KvType type : kTypes) {
    for (const CpuLevel level : supported_cpu_levels()) {
      const Kernels& kernels = kernels_for(level);
      Cache cache(kernels, type, 16, 21);
      const Floats before = attend_all(kernels, cache, q, queries, 5, 0);
      for (int d = 0; d < 16; ++d)
        cache.keys[size_t(160 + d)] = cache.values[size_t(160 + d)] =
            std::numeric_limits<float>::infinity();
      cache.store(kernels, 10);
      const Floats after = attend_all(kernels, cache, q, queries, 5, 0);
      for (const size_t i : {0, 3}) {
        EXPECT(std::memcmp(&before[i * 16], &after[i * 16], 64) == 0);
      }
      for (const size_t i : {1, 2, 4}) EXPECT(!std::isfinite(after[i * 16]));
    }
  }
}

TEST(equal_scores_weigh_equally_and_huge_ones_alone) {
  for (const CpuLevel level : supported_cpu_levels()) {
    const Kernels& kernels = kernels_for(level);
    Cache cache(kernels, KvType::kF32, 16, 100);
    const Floats zero(16, 0.0f);
    double mean = 0;
    for (size_t i = 0; i < 100; ++i) mean += cache.values[i * 16] / 100;
    EXPECT(test::near(attend_all(kernels, cache, zero, {{0, 99}}, 1, 0)[0], mean, 1e-6));
    for (int d = 0; d < 16; ++d) cache.keys[size_t(77 * 16 + d)] = 1e30f;
    cache.store(kernels, 77);
    const Floats one(16, 1.0f);
    EXPECT_EQ(attend_all(kernels, cache, one, {{0, 99}}, 1, 0)[3], cache.values[77 * 16 + 3]);
  }
}

TEST(stored_keys_and_values_are_the_nearest_of_their_type) {
  for (const KvType type : kTypes) {
    for (const int width : {1, 16, 40, 64, 112}) {
      const std::vector<uint8_t> bytes = at_every_level(
          [&](const Kernels& kernels) { return Cache(kernels, type, width, 35).pool; });
      const Cache cache(kernels_for(CpuLevel::kBaseline), type, width, 35);
      for (int64_t i = 0; i < 35; ++i) {
        const uint8_t* page =
            bytes.data() + cache.pages[static_cast<size_t>(i / 16)] * cache.layout.bytes;
        for (int d = 0; d < width; ++d) {
          const float key = cache.keys[static_cast<size_t>(i * width + d)],
                      value = cache.values[static_cast<size_t>(i * width + d)];
          const int64_t k_at = d * 16 + i % 16, v_at = i % 16 * cache.layout.padded_width + d;
          const auto half = [](const uint8_t* base, int64_t at) {
            uint16_t bits;
            std::memcpy(&bits, base + 2 * at, 2);
            return bits;
          };
          const auto is_nearest_q8 = [&](const uint8_t* part, int64_t at, int64_t scales, float x) {
            const float scale = f16_to_f32(half(page + scales, d / 32 * 16 + i % 16));
            const auto quant = reinterpret_cast<const int8_t*>(part)[at];
            return std::abs(quant * scale - x) <= 0.501f * scale;
          };
          const uint8_t* values = page + cache.layout.v;
          if (type == KvType::kF16) {
            EXPECT_EQ(half(page, k_at), f32_to_f16(key));
            EXPECT_EQ(half(values, v_at), f32_to_f16(value));
          } else if (type == KvType::kBF16) {
            EXPECT_EQ(half(page, k_at), f32_to_bf16(key));
            EXPECT_EQ(half(values, v_at), f32_to_bf16(value));
          } else if (type == KvType::kQ8_0) {
            EXPECT(is_nearest_q8(page, k_at, cache.layout.k_scales, key));
            EXPECT(is_nearest_q8(values, v_at, cache.layout.v_scales, value));
          }
        }
      }
    }
  }
}
