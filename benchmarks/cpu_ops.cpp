// Times of the CPU backend's ops other than matrix products, each beside what limits it: the cost
// of a fork-join region, attention over long contexts as GFLOP/s and as bytes of keys and values
// per second, and the row ops as bytes per second.
//
//     cmake -S . -B build/bench -DREALM_BUILD_BENCHMARKS=ON && cmake --build build/bench
//     build/bench/benchmarks/cpu_ops [threads]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/registry.h"
#include "base/thread_pool.h"

using namespace realm;

namespace {

using Floats = std::vector<float>;

Floats random_floats(int64_t n) {
  std::mt19937 generator(7);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  Floats values(static_cast<size_t>(n));
  for (float& value : values) value = uniform(generator);
  return values;
}

struct Seconds {
  double median, least;
};

// Of several runs after one that warms up.
template <class Body>
Seconds measured(int runs, Body body) {
  body();
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::sort(seconds);
  return {seconds[seconds.size() / 2], seconds[0]};
}

// Rates are those of the median.
void print_row(const std::string& name, Seconds seconds, double flops, double bytes) {
  std::printf("%-42s %10.1f us, least %10.1f", name.c_str(), seconds.median * 1e6,
              seconds.least * 1e6);
  if (flops > 0) std::printf("  %6.1f GFLOP/s", flops / seconds.median * 1e-9);
  if (bytes > 0) std::printf("  %6.1f GB/s", bytes / seconds.median * 1e-9);
  std::printf("\n");
}

struct Heads {
  int64_t query, kv, width;
};

// Sequences of one length whose last `n_rows` rows are attended to in one step.
struct Attention {
  Backend& backend;
  Heads heads;
  KvType type;
  int64_t n_sequences, length, n_rows;
  int64_t pages_each = (length + 15) / 16;
  int64_t page_bytes = backend.kv_page_bytes(type, heads.kv, heads.width);
  std::unique_ptr<Buffer> memory =
      backend.allocate(static_cast<uint64_t>(n_sequences * pages_each * page_bytes));
  KvLayer cache{memory->data(), type, heads.kv, heads.width, n_sequences * pages_each};
  std::vector<std::vector<int32_t>> pages = std::vector<std::vector<int32_t>>(size_t(n_sequences));

  void fill() {
    const Floats k = random_floats(length * heads.kv * heads.width), v = k;
    for (int64_t s = 0; s < n_sequences; ++s) {
      for (int64_t i = 0; i < pages_each; ++i)
        pages[size_t(s)].push_back(int32_t(i * n_sequences + s));
      const SequenceSpan span{0, int32_t(length), 0, int32_t(length), pages[size_t(s)]};
      const std::vector<int32_t> ids(static_cast<size_t>(length), 0);
      const StepBatch step{ids, ids, {&span, 1}, {}};
      const int64_t cols = heads.kv * heads.width;
      backend.store_kv(step, cache, {const_cast<float*>(k.data()), length, cols},
                       {const_cast<float*>(v.data()), length, cols});
    }
  }

  void measure(const std::string& name, int runs) {
    fill();
    std::vector<SequenceSpan> spans;
    for (int64_t s = 0; s < n_sequences; ++s) {
      spans.push_back({int32_t(s * n_rows), int32_t(n_rows), int32_t(length - n_rows),
                       int32_t(length), pages[size_t(s)]});
    }
    const int64_t rows = n_sequences * n_rows, cols = heads.query * heads.width;
    Floats q = random_floats(rows * cols), out(q.size());
    const std::vector<int32_t> ids(static_cast<size_t>(rows), 0);
    const StepBatch step{ids, ids, spans, {}};
    const AttentionShape shape{heads.query, heads.kv, heads.width, 0.125f, 0, 0};
    const Seconds seconds = measured(runs, [&] {
      backend.attend(step, cache, shape, {q.data(), rows, cols}, {out.data(), rows, cols});
    });
    const double keys = double(length) - double(n_rows - 1) / 2;  // that a row sees, on average
    const double flops = 4.0 * keys * double(rows * cols);
    const double bytes = double(n_sequences * pages_each * page_bytes);
    print_row(name, seconds, flops, n_rows == 1 ? bytes : 0);
  }
};

void measure_attention(Backend& backend) {
  const Heads tiny{32, 4, 64}, llama7b{32, 32, 128}, gemma{4, 1, 256};
  const auto run = [&](const char* name, Heads heads, KvType type, int64_t sequences,
                       int64_t length, int64_t rows, int runs) {
    Attention{backend, heads, type, sequences, length, rows}.measure(name, runs);
  };
  run("prefill 4096, 32/4 heads of 64, f16", tiny, KvType::kF16, 1, 4096, 4096, 3);
  run("prefill 4096, 32/4 heads of 64, q8_0", tiny, KvType::kQ8_0, 1, 4096, 4096, 3);
  run("prefill 512, 32/4 heads of 64, f16", tiny, KvType::kF16, 1, 512, 512, 15);
  run("prefill 512, 32/32 heads of 128, f16", llama7b, KvType::kF16, 1, 512, 512, 15);
  run("decode 8 x 2048, 32/4 heads of 64, f16", tiny, KvType::kF16, 8, 2048, 1, 51);
  run("decode 8 x 2048, 32/4 heads of 64, q8_0", tiny, KvType::kQ8_0, 8, 2048, 1, 51);
  run("decode 1 x 2048, 32/4 heads of 64, f16", tiny, KvType::kF16, 1, 2048, 1, 101);
  run("decode 1 x 128, 32/4 heads of 64, f16", tiny, KvType::kF16, 1, 128, 1, 301);
  run("decode 8 x 2048, 32/32 heads of 128, f16", llama7b, KvType::kF16, 8, 2048, 1, 11);
  run("decode 8 x 2048, 32/32 heads of 128, q8_0", llama7b, KvType::kQ8_0, 8, 2048, 1, 11);
  run("verify 5 of 2048, 32/4 heads of 64, f16", tiny, KvType::kF16, 1, 2048, 5, 51);
  run("decode 1 x 8192, 4/1 heads of 256, f16", gemma, KvType::kF16, 1, 8192, 1, 51);
}

void measure_rows(Backend& backend) {
  constexpr int64_t kWidth = 2048, kWide = 5632;
  for (const int64_t rows : {1, 8, 512}) {
    Floats x = random_floats(rows * kWide), y = x, z = x;
    Floats weight(kWidth, 1.0f), cos(static_cast<size_t>(rows * 32), 0.6f),
        sin(static_cast<size_t>(rows * 32), 0.8f);
    const auto small = [&](Floats& f) { return Matrix{f.data(), rows, kWidth}; };
    const auto wide = [&](Floats& f) { return Matrix{f.data(), rows, kWide}; };
    const auto named = [&](const char* op) {
      return std::string(op) + ", " + std::to_string(rows) + " rows";
    };
    const double bytes = double(rows * kWidth) * 4, wide_bytes = double(rows * kWide) * 4;
    const int runs = rows > 8 ? 51 : 1001;
    print_row(named("norm"),
              measured(runs,
                       [&] {
                         backend.norm(NormKind::kRms, small(x), {weight.data(), kWidth}, {}, 1e-5f,
                                      small(y));
                       }),
              0, 2 * bytes);
    print_row(named("add"), measured(runs, [&] { backend.add(small(x), small(y), 1e-3f); }), 0,
              3 * bytes);
    print_row(named("gate"),
              measured(runs, [&] { backend.gate(Activation::kSilu, wide(y), wide(x), wide(z)); }),
              0, 3 * wide_bytes);
    print_row(
        named("gate, gelu"),
        measured(runs, [&] { backend.gate(Activation::kGeluTanh, wide(y), wide(x), wide(z)); }), 0,
        3 * wide_bytes);
    for (const bool interleaved : {true, false}) {
      print_row(named(interleaved ? "rotate pairs" : "rotate halves"),
                measured(runs,
                         [&] {
                           backend.rotate(small(z), 64, {cos.data(), sin.data(), 32, interleaved});
                         }),
                0, 2 * bytes);
    }
    for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
      const int64_t n_pages = (rows + 15) / 16;
      const auto page = static_cast<uint64_t>(backend.kv_page_bytes(type, 4, 64));
      const auto memory = backend.allocate(static_cast<uint64_t>(n_pages) * page);
      std::vector<int32_t> pages, ids(static_cast<size_t>(rows), 0);
      for (int32_t i = 0; i < n_pages; ++i) pages.push_back(i);
      const SequenceSpan span{0, int32_t(rows), 0, int32_t(rows), pages};
      const char* names[] = {"store f32", "store f16", "store bf16", "store q8_0"};
      print_row(named(names[static_cast<int>(type)]),
                measured(runs,
                         [&] {
                           backend.store_kv({ids, ids, {&span, 1}, {}},
                                            {memory->data(), type, 4, 64, n_pages},
                                            {x.data(), rows, 256}, {y.data(), rows, 256});
                         }),
                0, double(rows) * 512 * 4);
    }
  }
}

void measure_pool(int n_threads) {
  const auto pool = ThreadPool::shared(n_threads);
  for (const int64_t chunks : {2, 16, 4096}) {
    std::vector<int64_t> sums(static_cast<size_t>(chunks) * 8);
    constexpr int kRegions = 1000;
    const Seconds seconds = measured(15, [&] {
      for (int r = 0; r < kRegions; ++r)
        pool->run(chunks, [&](int64_t i) { sums[static_cast<size_t>(i * 8)] += i; });
    });
    print_row("region of " + std::to_string(chunks) + " empty chunks",
              {seconds.median / kRegions, seconds.least / kRegions}, 0, 0);
  }
  // Bodies of 10 us, one for each thread: what a region adds to them.
  const double body = 10e-6;
  const Seconds seconds = measured(1001, [&] {
    pool->run(n_threads, [&](int64_t) {
      const auto begin = std::chrono::steady_clock::now();
      while (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < body)
        continue;
    });
  });
  print_row("fork and join of bodies of 10 us", {seconds.median - body, seconds.least - body}, 0,
            0);
}

}  // namespace

int main(int argc, char** argv) {
  const int n_threads = argc > 1 ? std::atoi(argv[1]) : usable_processors();
  const auto backend = make_cpu_backend(n_threads);
  std::printf("%s\n", backend->description().c_str());
  measure_pool(n_threads);
  measure_attention(*backend);
  measure_rows(*backend);
}
