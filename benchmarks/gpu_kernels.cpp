// A GPU's kernels one by one, through the backend's own ops: what a step asks of them, in the
// shapes of an 8B model (width 4096, 32 query and 8 key heads of 128, feed-forward 14336).
//
//     gpu_kernels DEVICE [--deterministic] [--tiny] [CASE ...]
//
// DEVICE is a name that Model takes. Cases: stream, launch, flash, decode, products; all without
// one. Prints a JSON object for each measurement: seconds are of one op, the median of five samples
// of at least 50 ms each, work and bytes as the kernels' files count them. Tiny sizes are for the
// emulated device. Weights take turns, so that none is found in a cache. benchmarks/gpu.py runs
// this.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/registry.h"
#include "base/error.h"
#include "quant/formats.h"

using namespace realm;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Sizes {
  bool tiny = false;
  int64_t heads() const { return tiny ? 4 : 32; }
  int64_t kv_heads() const { return tiny ? 2 : 8; }
  int64_t head_width() const { return tiny ? 64 : 128; }
  int64_t width() const { return tiny ? 256 : 4096; }
  int64_t feed_forward() const { return tiny ? 64 : 14336; }
  std::vector<int64_t> prompts() const {
    return tiny ? std::vector<int64_t>{40} : std::vector<int64_t>{4096, 8192, 16384};
  }
  int64_t decode_sequences() const { return tiny ? 3 : 32; }
  int64_t decode_context() const { return tiny ? 70 : 4096; }
  std::vector<int64_t> product_rows() const {
    if (tiny) return {1, 20};
    return {1, 2, 4, 8, 16, 32, 64, 128, 512, 2048, 4096};
  }
  int64_t stream_floats() const { return tiny ? 1 << 10 : 256 << 20; }
  double sample_seconds() const { return tiny ? 0 : 0.05; }
  double cold_bytes() const { return tiny ? 0 : 256e6; }  // several times any cache
};

// One measurement's line: names and values, numbers in enough digits.
class Line {
 public:
  explicit Line(const std::string& name) : text_("{\"name\": \"" + name + "\"") {}
  Line& add(const char* key, const std::string& value) {
    text_ += std::string(", \"") + key + "\": \"" + value + "\"";
    return *this;
  }
  Line& add(const char* key, double value) {
    char number[40];
    std::snprintf(number, sizeof number, "%.6g", value);
    text_ += std::string(", \"") + key + "\": " + number;
    return *this;
  }
  void print() const {
    std::printf("%s}\n", text_.c_str());
    std::fflush(stdout);
  }

 private:
  std::string text_;
};

class Bench {
 public:
  Bench(const std::string& device, bool deterministic, Sizes sizes)
      : backend_(make_backend(device, 0, ActivationKind::kInt8, deterministic)), sizes_(sizes) {}

  std::string description() const { return backend_->description(); }

  // What memory gives: x += y, two numbers read and one written.
  void stream() {
    const int64_t n = sizes_.stream_floats();
    const Matrix x = filled(1, n), y = filled(1, n);
    const double s = seconds([&](int64_t) { backend_->add(x, y, 0.5f); });
    Line("stream").add("seconds", s).add("gb_s", 12.0 * static_cast<double>(n) / s / 1e9).print();
    buffers_.clear();
  }

  // What a launch takes of the host and the device when there is nothing to do.
  void launch() {
    const Matrix x = filled(1, 32);
    Line("launch").add("seconds", seconds([&](int64_t) { backend_->scale(x, 1.0f); })).print();
  }

  // Causal attention of a whole prompt: half of 4 * H * D * T^2 operations.
  void flash(KvType type, const char* name) {
    for (const int64_t n : sizes_.prompts()) {
      const double s = attend(type, 1, n, n);
      const double work = 2.0 * static_cast<double>(sizes_.heads() * sizes_.head_width()) *
                          static_cast<double>(n) * static_cast<double>(n);
      Line line("flash");
      line.add("kv", name).add("tokens", static_cast<double>(n)).add("seconds", s);
      line.add("tflops", work / s / 1e12).print();
    }
  }

  // A row of each of many sequences over their whole caches.
  void decode(KvType type, const char* name) {
    const int64_t n = sizes_.decode_sequences(), context = sizes_.decode_context();
    const double s = attend(type, n, context, 1);
    const double per_page =
        static_cast<double>(backend_->kv_page_bytes(type, sizes_.kv_heads(), sizes_.head_width()));
    const double bytes = per_page / static_cast<double>(backend_->kv_page_tokens()) *
                         static_cast<double>(n * context);
    Line line("decode");
    line.add("kv", name).add("sequences", static_cast<double>(n));
    line.add("context", static_cast<double>(context)).add("seconds", s);
    line.add("gb_s", bytes / s / 1e9).print();
  }

  void products(DType type) {
    const Format& format = format_of(type);
    const int64_t rows = sizes_.feed_forward(), cols = sizes_.width();
    const auto bytes =
        static_cast<double>(*encoded_bytes(format, static_cast<uint64_t>(rows * cols)));
    std::vector<std::unique_ptr<Weight>> weights;
    do {
      weights.push_back(random_weight(format, rows, cols));
    } while (static_cast<double>(weights.size()) * bytes < sizes_.cold_bytes());
    for (const int64_t n : sizes_.product_rows()) {
      const Matrix in = filled(n, cols), out = filled(n, rows);
      const double s = seconds([&](int64_t i) {
        const Product one{*weights[static_cast<size_t>(i) % weights.size()], {}, out};
        backend_->linear({&one, 1}, in);
      });
      const double work = 2.0 * static_cast<double>(n * rows) * static_cast<double>(cols);
      Line line("product");
      line.add("format", format.name).add("rows", static_cast<double>(n)).add("seconds", s);
      line.add("gb_s", bytes / s / 1e9).add("tflops", work / s / 1e12).print();
      buffers_.clear();
    }
  }

 private:
  double seconds(const std::function<void(int64_t)>& op) {
    int64_t i = 0, n = 1;
    const auto sample = [&] {
      const auto start = Clock::now();
      for (int64_t k = 0; k < n; ++k) op(i++);
      backend_->sync();
      return seconds_since(start);
    };
    sample();
    double once = sample();
    for (; once < sizes_.sample_seconds() / 2; once = sample()) n *= 2;
    std::vector<double> all;
    for (int k = 0; k < (sizes_.tiny ? 1 : 5); ++k)
      all.push_back(sample() / static_cast<double>(n));
    std::nth_element(all.begin(), all.begin() + static_cast<long>(all.size() / 2), all.end());
    return all[all.size() / 2];
  }

  // `n_sequences` of `n_tokens`, of which the last `n_rows` are attended: seconds of the attention.
  double attend(KvType type, int64_t n_sequences, int64_t n_tokens, int64_t n_rows) {
    const int64_t page = backend_->kv_page_tokens(), n_pages = (n_tokens + page - 1) / page;
    const int64_t heads = sizes_.heads(), kv_heads = sizes_.kv_heads(), d = sizes_.head_width();
    const auto bytes = n_sequences * n_pages * backend_->kv_page_bytes(type, kv_heads, d);
    const KvLayer cache{random_bytes(bytes), type, kv_heads, d, n_sequences * n_pages};
    std::vector<int32_t> pages(static_cast<size_t>(n_sequences * n_pages));
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(3));
    const auto n = n_sequences * n_rows;
    std::vector<int32_t> tokens(static_cast<size_t>(n)), positions;
    std::vector<SequenceSpan> spans;
    for (int64_t s = 0; s < n_sequences; ++s) {
      const auto first = static_cast<int32_t>(n_tokens - n_rows);
      spans.push_back({static_cast<int32_t>(s * n_rows), static_cast<int32_t>(n_rows), first,
                       static_cast<int32_t>(n_tokens),
                       std::span(pages).subspan(static_cast<size_t>(s * n_pages),
                                                static_cast<size_t>(n_pages))});
      for (int32_t i = 0; i < n_rows; ++i) positions.push_back(first + i);
    }
    const StepBatch step{tokens, positions, spans, {}};
    const Matrix q = filled(n, heads * d), out = filled(n, heads * d);
    const double s = seconds(
        [&](int64_t) { backend_->attend(step, cache, {heads, kv_heads, d, 0.09f, 0, 0}, q, out); });
    buffers_.clear();
    return s;
  }

  std::byte* bytes(int64_t n) {
    buffers_.push_back(backend_->allocate(static_cast<uint64_t>(n)));
    return buffers_.back()->data();
  }

  // Words that are a small number read as halves of either kind, as scales or as quants.
  std::byte* random_bytes(int64_t n) {
    std::mt19937 random(1);
    std::vector<uint16_t> words(static_cast<size_t>(std::min<int64_t>(n, 64 << 20) + 1) / 2);
    for (uint16_t& word : words) word = static_cast<uint16_t>(random() & 0xbbff);
    std::byte* memory = bytes(n);
    const auto piece = static_cast<int64_t>(words.size() * sizeof(uint16_t));
    for (int64_t at = 0; at < n; at += piece)
      backend_->upload(words.data(), memory + at, static_cast<uint64_t>(std::min(piece, n - at)));
    return memory;
  }

  Matrix filled(int64_t rows, int64_t cols) {
    std::mt19937 random(2);
    std::vector<float> values(static_cast<size_t>(std::min<int64_t>(rows * cols, 16 << 20)));
    for (float& value : values) value = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
    Matrix m{reinterpret_cast<float*>(bytes(rows * cols * 4)), rows, cols};
    const auto piece = static_cast<int64_t>(values.size());
    for (int64_t at = 0; at < rows * cols; at += piece)
      backend_->upload(values.data(), m.data + at,
                       static_cast<uint64_t>(std::min(piece, rows * cols - at)) * 4);
    return m;
  }

  // Blocks of random bytes whose 16-bit words could all be scales: no NaN, no infinity.
  std::unique_ptr<Weight> random_weight(const Format& format, int64_t rows, int64_t cols) {
    const auto n = *encoded_bytes(format, static_cast<uint64_t>(rows * cols));
    std::mt19937 random(1);
    std::vector<uint16_t> words((n + 1) / 2);
    for (uint16_t& word : words) word = static_cast<uint16_t>(random() & 0x9fff);
    return backend_->load_weight(
        {format.dtype, rows, cols, {reinterpret_cast<const std::byte*>(words.data()), n}, nullptr});
  }

  const std::unique_ptr<Backend> backend_;
  const Sizes sizes_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
};

void run(int argc, char** argv) {
  REALM_CHECK(argc > 1, "usage: gpu_kernels DEVICE [--deterministic] [--tiny] [CASE ...]");
  Sizes sizes;
  bool deterministic = false;
  std::vector<std::string> cases;
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--tiny") {
      sizes.tiny = true;
    } else if (word == "--deterministic") {
      deterministic = true;
    } else {
      cases.push_back(word);
    }
  }
  const auto wanted = [&](const char* name) {
    return cases.empty() || std::find(cases.begin(), cases.end(), name) != cases.end();
  };
  Bench bench(argv[1], deterministic, sizes);
  Line("device").add("description", bench.description()).print();
  if (wanted("stream")) bench.stream();
  if (wanted("launch")) bench.launch();
  if (wanted("flash")) {
    bench.flash(KvType::kF16, "f16");
    bench.flash(KvType::kBF16, "bf16");
  }
  if (wanted("decode")) {
    bench.decode(KvType::kF16, "f16");
    bench.decode(KvType::kQ8_0, "q8_0");
  }
  if (wanted("products")) {
    for (const DType type : {DType::kQ4_K, DType::kQ6_K, DType::kQ8_0, DType::kF16, DType::kBF16})
      bench.products(type);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_kernels: %s\n", error.what());
    return 1;
  }
}
