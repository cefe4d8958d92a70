// Matrix products of the CPU backend in the shapes of TinyLlama-1.1B, with random weights, beside
// what the machine can do at most: read bandwidth for few rows, int8 multiplication for many. All
// products of a pass (22 layers; up to 64 rows the head too) and the quantization of their inputs.
//
//     cmake -S . -B build/bench -DREALM_BUILD_BENCHMARKS=ON && cmake --build build/bench
//     build/bench/benchmarks/cpu_products [type or "mix"] [threads] [rows,rows,...] [layers]
//
// "mix" is Q4_K with Q6_K for the head and in half of the layers for v and down, as Q4_K_M. Fewer
// layers are quicker; weights that fit a cache then show it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/registry.h"
#include "base/thread_pool.h"
#include "cpu/peak_loops.h"
#include "cpu/weight.h"
#include "quant/formats.h"

using namespace realm;

namespace {

constexpr int64_t kWidth = 2048, kKv = 256, kFeedForward = 5632, kVocab = 32000;
constexpr int64_t kFewRows = 8;

using Loaded = std::unique_ptr<Weight>;

struct alignas(64) Line {  // outputs begin at lines, as the buffers of a model do
  float values[16];
};

// Blocks of random bytes whose 16-bit words could all be scales: no NaN, no infinity.
Loaded random_weight(Backend& backend, const Format& format, int64_t rows, int64_t cols) {
  static std::vector<std::byte> bytes;
  const auto n = encoded_bytes(format, static_cast<uint64_t>(rows * cols)).value();
  std::mt19937 random(1);
  for (size_t at = bytes.size(); at < n; at += 2) {
    const auto word = static_cast<uint16_t>(random() & 0x9fff);
    bytes.push_back(static_cast<std::byte>(word & 255));
    bytes.push_back(static_cast<std::byte>(word >> 8));
  }
  return backend.load_weight({format.dtype, rows, cols, {bytes.data(), n}, nullptr});
}

struct Layer {
  Loaded q, k, v, o, gate, up, down;
};

struct Model {
  std::vector<Layer> layers;
  Loaded head;
  double layer_weights = 0, layer_bytes = 0, head_weights = 0, head_bytes = 0;
};

double bytes_of(const Weight& weight) {
  return static_cast<double>(
      encoded_bytes(format_of(weight.dtype()), static_cast<uint64_t>(weight.rows() * weight.cols()))
          .value());
}

Model make_model(Backend& backend, const std::string& type, int n_layers) {
  Model model;
  const bool mix = type == "mix";
  const Format* main = find_format(mix ? "Q4_K" : type);
  if (!main) std::exit((std::fprintf(stderr, "no weight format %s\n", type.c_str()), 2));
  const Format& other = mix ? *find_format("Q6_K") : *main;
  for (int i = 0; i < n_layers; ++i) {
    const Format& some = i % 2 ? other : *main;
    const auto make = [&](const Format& format, int64_t rows, int64_t cols) {
      return random_weight(backend, format, rows, cols);
    };
    model.layers.push_back({make(*main, kWidth, kWidth), make(*main, kKv, kWidth),
                            make(some, kKv, kWidth), make(*main, kWidth, kWidth),
                            make(*main, kFeedForward, kWidth), make(*main, kFeedForward, kWidth),
                            make(some, kWidth, kFeedForward)});
    const Layer& l = model.layers.back();
    for (const Loaded* w : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) {
      model.layer_weights += static_cast<double>((*w)->rows() * (*w)->cols());
      model.layer_bytes += bytes_of(**w);
    }
  }
  model.head = random_weight(backend, other, kVocab, kWidth);
  model.head_weights = static_cast<double>(kVocab * kWidth);
  model.head_bytes = bytes_of(*model.head);
  return model;
}

class Pass {
 public:
  Pass(Backend& backend, const Model& model, int64_t rows)
      : backend_(backend),
        model_(model),
        rows_(rows),
        in_(static_cast<size_t>(rows * kFeedForward)),
        out_(static_cast<size_t>(rows * (with_head() ? kVocab : 2 * kFeedForward) / 16)) {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    for (float& value : in_) value = normal(random);
  }

  bool with_head() const { return rows_ <= 64; }  // prefill computes one row of it
  double weights() const { return model_.layer_weights + (with_head() ? model_.head_weights : 0); }
  double bytes() const { return model_.layer_bytes + (with_head() ? model_.head_bytes : 0); }

  void run() {
    for_each_group([&](std::initializer_list<const Weight*> weights) { multiply(weights); });
  }
  // Only reads what run() multiplies, group by group, with the pool's threads; returns the bytes.
  double read(ThreadPool& pool, const cpu::PeakLoops& loops, int64_t ahead) const {
    double bytes = 0;
    for_each_group([&](std::initializer_list<const Weight*> weights) {
      int64_t panels = 0;
      for (const Weight* weight : weights) {
        const int64_t n = (weight->rows() + cpu::kPanelRows - 1) / cpu::kPanelRows;
        bytes += static_cast<double>(n * cpu::as_cpu(*weight).panel_stride());
        panels += n;
      }
      pool.run_ranges(panels, 1, [&](int64_t begin, int64_t end) {
        read_panels(weights, begin, end, loops, ahead);
      });
    });
    return bytes;
  }

 private:
  template <class Visit>
  void for_each_group(Visit visit) const {
    for (const Layer& layer : model_.layers) {
      visit({layer.q.get(), layer.k.get(), layer.v.get()});
      visit({layer.o.get()});
      visit({layer.gate.get(), layer.up.get()});
      visit({layer.down.get()});
    }
    if (with_head()) visit({model_.head.get()});
  }

  // Panels are counted over all of the weights.
  static void read_panels(std::initializer_list<const Weight*> weights, int64_t begin, int64_t end,
                          const cpu::PeakLoops& loops, int64_t ahead) {
    constexpr int64_t kPiece = 1024;  // the loop takes whole ones
    int64_t before = 0;
    for (const Weight* weight : weights) {
      const cpu::CpuWeight& panels = cpu::as_cpu(*weight);
      const int64_t n = (weight->rows() + cpu::kPanelRows - 1) / cpu::kPanelRows;
      const int64_t from = std::max(begin - before, int64_t{0}), to = std::min(end - before, n);
      const int64_t bytes = (to - from) * panels.panel_stride();
      if (from < to) loops.read(panels.panel(from), bytes / kPiece * kPiece, ahead);
      before += n;
    }
  }

  void multiply(std::initializer_list<const Weight*> weights) {
    std::vector<Product> products;
    float* out = out_.data()->values;
    int64_t cols = 0;
    for (const Weight* weight : weights) {
      products.push_back({*weight, {}, {out, rows_, weight->rows()}});
      out += rows_ * weight->rows();
      cols = weight->cols();
    }
    backend_.linear(products, {in_.data(), rows_, cols});
  }

  Backend& backend_;
  const Model& model_;
  const int64_t rows_;
  std::vector<float> in_;
  std::vector<Line> out_;
};

// How fast the machine multiplies bytes and reads memory at this moment, in short slices.
class Ceiling {
 public:
  Ceiling(const Pass& pass, int n_threads, bool of_reading)
      : pass_(pass),
        pool_(ThreadPool::shared(n_threads > 0 ? n_threads : usable_processors())),
        of_reading_(of_reading) {}

  double per_second() const {
    const auto begin = std::chrono::steady_clock::now();
    const double work = of_reading_ ? pass_.read(*pool_, loops_, kAhead) : multiply();
    return work / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

 private:
  static constexpr int64_t kAhead = 2048, kRounds = 20000, kTurns = 32;

  double multiply() const {
    std::atomic<int64_t> macs{0};
    pool_->run(kTurns * pool_->n_threads(), [&](int64_t) { macs += loops_.multiply_i8(kRounds); });
    return static_cast<double>(macs);
  }

  const Pass& pass_;
  const std::shared_ptr<ThreadPool> pool_;
  const bool of_reading_;
  const cpu::PeakLoops loops_ = cpu::peak_loops(supported_cpu_levels().back());
};

// Of passes that take about two seconds together. Where other programs hold the processors, only
// shares of what the machine did just before and after, and the processors' own time, say what the
// code is worth.
struct Measured {
  double median, least, least_of_processors, share;
};

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

Measured measured(Pass& pass, double work, const Ceiling& ceiling) {
  constexpr double kBudget = 2.0;
  std::vector<double> seconds, of_processors, shares;
  pass.run();
  for (double total = 0; seconds.size() < 5 || (total < kBudget && seconds.size() < 101);) {
    const double most_before = ceiling.per_second();
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t before = std::clock();
    pass.run();
    of_processors.push_back(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC);
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    shares.push_back(2 * work / seconds.back() / (most_before + ceiling.per_second()));
    total += seconds.back();
  }
  return {median_of(seconds), *std::ranges::min_element(seconds),
          *std::ranges::min_element(of_processors), median_of(shares)};
}

// Reading alone, over the same weights in the same regions: the best of the distances of fetching
// that the ceiling is the best of.
double reading_rate(const Pass& pass, int n_threads) {
  const auto pool = ThreadPool::shared(n_threads > 0 ? n_threads : usable_processors());
  const cpu::PeakLoops loops = cpu::peak_loops(supported_cpu_levels().back());
  double best = 0;
  for (const int64_t ahead : {0, 2048, 4096}) {
    std::vector<double> rates;
    for (int i = 0; i < 11; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      const double bytes = pass.read(*pool, loops, ahead);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      rates.push_back(bytes / took.count());
    }
    std::ranges::sort(rates);
    best = std::max(best, rates[rates.size() / 2]);
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string type = argc > 1 ? argv[1] : "mix";
  const int n_threads = argc > 2 ? std::atoi(argv[2]) : 0;
  std::istringstream list(argc > 3 ? argv[3] : "1,2,4,5,8,16,32,128,512");
  const int n_layers = argc > 4 ? std::atoi(argv[4]) : 22;
  const auto backend = make_cpu_backend(n_threads);
  const Model model = make_model(*backend, type, n_layers);
  const Ceilings most = measure_cpu_ceilings(n_threads, 2.0);
  std::printf("%s, %s: %.0f MB in layers, %.0f in the head\n", backend->description().c_str(),
              type.c_str(), model.layer_bytes * 1e-6, model.head_bytes * 1e-6);
  std::printf("at most: %.1f GB/s read, %.0f G int8 MAC/s, %.0f G f32 MAC/s\n",
              most.read_bytes_per_s * 1e-9, most.int8_macs_per_s * 1e-9,
              most.f32_macs_per_s * 1e-9);
  const double reading = reading_rate(Pass(*backend, model, 1), n_threads);
  std::printf("the same weights only read, product by product: %.1f GB/s, %.0f %% of read\n",
              reading * 1e-9, 100 * reading / most.read_bytes_per_s);
  // Few rows are bound by reading, which their shares are of; many by multiplying.
  std::printf(
      "rows      ms   least  processors   G MAC/s    GB/s   rows/s  share of what was possible\n");
  for (std::string field; std::getline(list, field, ',');) {
    const int64_t rows = std::atoi(field.c_str());
    Pass pass(*backend, model, rows);
    const bool of_reading = rows <= kFewRows;
    const double macs = pass.weights() * static_cast<double>(rows);
    const Measured took =
        measured(pass, of_reading ? pass.bytes() : macs, Ceiling(pass, n_threads, of_reading));
    std::printf("%4lld %8.2f %7.2f %11.2f %9.0f %7.1f %8.0f  %.0f %% of %s\n",
                static_cast<long long>(rows), took.median * 1e3, took.least * 1e3,
                took.least_of_processors * 1e3, macs / took.median * 1e-9,
                pass.bytes() / took.median * 1e-9, static_cast<double>(rows) / took.median,
                100 * took.share, of_reading ? "reading" : "multiplying");
  }
}
