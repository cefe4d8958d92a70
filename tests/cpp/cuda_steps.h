// Steps of decoders as graphs, for the suites that try them: sequences on their way over one
// decoder, beside a twin whose steps are taken in pieces (Decoder::begin, embed, layer, head),
// which are always issued op by op: over a cache of its own, bits and all.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <numeric>
#include <random>

#include "backend/registry.h"
#include "backend/watch.h"
#include "cpp/gpu_forward.h"
#include "cpp/harness.h"
#include "gguf/reader.h"
#include "lora/adapter_source.h"
#include "model/decoder.h"
#include "model/model.h"

namespace realm::test {

using Tokens = std::vector<int32_t>;

constexpr size_t kSequences = 20;
constexpr int64_t kPages = 3 * kSequences;  // of each cache

inline uint64_t count_of(const Backend& backend, const std::string& path) {
  const auto counts = backend.path_counts();
  return std::map<std::string, uint64_t>(counts.begin(), counts.end()).at(path);
}

struct Loaded {
  std::shared_ptr<const gguf::GgufFile> file;
  ModelConfig config;
  std::unique_ptr<Backend> backend;
  ModelWeights weights;

  explicit Loaded(const std::string& name, bool deterministic = false)
      : file(gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", name, ".gguf"))),
        config(parse_config(*file)),
        backend(make_cuda_backend(0, deterministic)),
        weights(load_weights(file, config, *backend, {})) {}

  uint64_t count(const std::string& path) const { return count_of(*backend, path); }
};

// A model on whose rows adapters can stand.
struct Adapted {
  std::shared_ptr<Model> model;

  explicit Adapted(const std::string& name)
      : model(Model::load(gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", name, ".gguf")),
                          {.device = "cuda", .n_threads = 1})) {}

  Model* operator->() const { return model.get(); }
  Model& operator*() const { return *model; }
  uint64_t count(const std::string& path) const { return count_of(model->backend(), path); }
  std::shared_ptr<const AdapterSet> load(const std::string& name, const std::string& files,
                                         float scale) const {
    const auto source = lora::open_adapter(concat(REALM_GOLDEN_DIR "/", files));
    model->adapters().load(name, source, true);
    return model->adapters().set_of({{name, scale}});
  }
};

struct Part {
  size_t sequence;
  int32_t n;
};

inline Tokens shuffled_pages(unsigned seed) {
  Tokens pages(kPages);
  std::iota(pages.begin(), pages.end(), 0);
  std::ranges::shuffle(pages, std::mt19937(seed));
  return pages;
}

// Sequences on their way, over one decoder and cache. Layers with a window have pages of their own,
// as in an engine.
class Travel {
 public:
  Travel(Loaded& on, KvType type) : Travel(*on.backend, on.config, on.weights, type) {}
  Travel(Model& on, KvType type) : Travel(on.backend(), on.config(), on.weights(), type) {}

  bool in_pieces = false, in_other_cache = false, page_lists_vary = false, page_lists_grow = false;
  size_t most_wanted = 24;
  const AdapterSet* adapters[kSequences] = {};

  // The logits of the last rows of the first parts.
  Floats run(const std::vector<Part>& parts, const std::atomic<bool>* cancel = nullptr) {
    Tokens tokens, positions, wanted;
    std::vector<SequenceSpan> spans, window_spans;
    for (const auto& [sequence, n] : parts) {
      const auto row = static_cast<int32_t>(tokens.size());
      const int32_t at = done_[sequence];
      const AdapterSet* set = adapters[sequence];
      spans.push_back({row, n, at, 96, pages_of(pages_, sequence), set});
      window_spans.push_back({row, n, at, 96, pages_of(window_pages_, sequence), set});
      for (int32_t pos = at; pos < at + n; ++pos) {
        tokens.push_back(static_cast<int32_t>((static_cast<int64_t>(sequence) * 11 + pos * 7) %
                                              config_.n_vocab));
        positions.push_back(pos);
      }
      if (wanted.size() < most_wanted) wanted.push_back(row + n - 1);
    }
    StepBatch step{tokens, positions, spans, wanted};
    if (config_.window > 0) step.window_spans = window_spans;
    const CancelWatch watch(backend_, cancel);
    compute(step);
    for (const auto& [sequence, n] : parts) done_[sequence] += n;
    Floats logits(wanted.size() * static_cast<size_t>(config_.n_vocab));
    backend_.download(decoder_.logits().data, logits.data(), logits.size() * sizeof(float));
    return logits;
  }
  void forget_last(size_t sequence, int32_t n) { done_[sequence] -= n; }
  int32_t done(size_t sequence) const { return done_[sequence]; }
  // That a sequence has room for: three pages, and no position beyond the model's.
  int64_t capacity() const { return std::min<int64_t>(90, config_.n_ctx); }

 private:
  Travel(Backend& backend, const ModelConfig& config, const ModelWeights& weights, KvType type)
      : backend_(backend),
        config_(config),
        cache_(backend, config, type, {kPages, kPages}),
        other_cache_(backend, config, type, {kPages, kPages}),
        decoder_(backend, config, weights, 80, 24) {}

  // Three to a sequence; where they grow, at times one more, and where they vary many more that it
  // has no tokens for yet.
  std::span<const int32_t> pages_of(const Tokens& pages, size_t sequence) const {
    const size_t first = 3 * sequence;
    size_t n = page_lists_vary && done_[sequence] % 3 == 0 ? 27 : 3;
    if (page_lists_grow && done_[sequence] % 2 == 0) n = std::min<size_t>(4, kPages - first);
    return std::span(pages).subspan(first, n);
  }

  void compute(const StepBatch& step) {
    const KvStorage& cache = in_other_cache ? other_cache_ : cache_;
    if (!in_pieces) return decoder_.run(step, cache);
    decoder_.begin(step);
    decoder_.embed(step);
    for (int64_t i = 0; i < config_.n_layers; ++i) decoder_.layer(step, cache, i);
    decoder_.head(step);
  }

  Backend& backend_;
  const ModelConfig& config_;
  const KvStorage cache_, other_cache_;
  Decoder decoder_;
  int32_t done_[kSequences] = {};
  const Tokens pages_ = shuffled_pages(1), window_pages_ = shuffled_pages(2);
};

inline bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && !a.empty() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// A twin that issues every op, beside the one under test.
struct Twins {
  Travel ours, theirs;

  explicit Twins(auto& model, KvType type = KvType::kF16) : ours(model, type), theirs(model, type) {
    theirs.in_pieces = true;
  }
  // The first sequences have these adapters.
  void adapt(const std::vector<const AdapterSet*>& sets) {
    for (Travel* one : {&ours, &theirs}) std::ranges::copy(sets, one->adapters);
  }
  void step(const std::vector<Part>& parts, const char* what = "") {
    const Floats expected = theirs.run(parts);
    if (!same_bits(ours.run(parts), expected))
      report_failure(__FILE__, __LINE__, concat("other bits ", what));
  }
};

}  // namespace realm::test
