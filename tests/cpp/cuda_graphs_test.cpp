// Steps of decoders as graphs, on the emulated device. The reference of a step that is captured or
// replayed is the same step in pieces (Decoder::begin, embed, layer, head), which are always issued
// op by op: over a cache of its own, bits and all.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <numeric>
#include <random>

#include "backend/registry.h"
#include "backend/watch.h"
#include "cpp/gpu_device.h"
#include "cpp/gpu_forward.h"
#include "cpp/harness.h"
#include "cuda/emulation/runtime.h"
#include "cuda/step_graphs.h"
#include "gguf/reader.h"
#include "lora/adapter_source.h"
#include "model/decoder.h"
#include "model/model.h"

using namespace realm;
using test::Floats;

namespace {

using Tokens = std::vector<int32_t>;

constexpr size_t kSequences = 20;
constexpr int64_t kPages = 3 * kSequences;  // of each cache

// Restores the emulated device when a test is done with it.
struct Device {
  ~Device() {
    simt::device_state().fails_captures = simt::device_state().lost = false;
    simt::device_state().fail_launch_in = 0;
  }
};

uint64_t count_of(const Backend& backend, const std::string& path) {
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

struct Part {
  size_t sequence;
  int32_t n;
};

Tokens shuffled_pages(unsigned seed) {
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

  bool in_pieces = false, in_other_cache = false, page_lists_vary = false;
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

 private:
  Travel(Backend& backend, const ModelConfig& config, const ModelWeights& weights, KvType type)
      : backend_(backend),
        config_(config),
        cache_(backend, config, type, {kPages, kPages}),
        other_cache_(backend, config, type, {kPages, kPages}),
        decoder_(backend, config, weights, 80, 24) {}

  // Three to a sequence; where they vary, at times many more that it has no tokens for yet.
  std::span<const int32_t> pages_of(const Tokens& pages, size_t sequence) const {
    const size_t first = 3 * sequence, n = page_lists_vary && done_[sequence] % 3 == 0 ? 27 : 3;
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

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && !a.empty() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// A twin that issues every op, beside the one under test.
struct Twins {
  Travel ours, theirs;

  explicit Twins(auto& model, KvType type = KvType::kF16) : ours(model, type), theirs(model, type) {
    theirs.in_pieces = true;
  }
  void step(const std::vector<Part>& parts, const char* what = "") {
    const Floats expected = theirs.run(parts);
    if (!same_bits(ours.run(parts), expected))
      test::report_failure(__FILE__, __LINE__, concat("other bits ", what));
  }
};

// Mostly answers that go on by a token, some with guesses to verify, sometimes a prompt.
std::vector<Part> random_parts(std::mt19937& random, const Travel& travel) {
  std::vector<Part> parts;
  for (size_t s = 0; s < 3; ++s) {
    const int32_t n = random() % 16 == 0 ? 3 : random() % 24 == 0 ? 19 : 1;
    if (random() % 4 > 0 && travel.done(s) + n <= 90) parts.push_back({s, n});
  }
  std::ranges::shuffle(parts, random);
  return parts;
}

}  // namespace

TEST(replayed_steps_have_the_bits_of_issued_ones_in_random_schedules) {
  struct Case {
    const char* model;
    KvType type;
    bool deterministic;
  };
  std::vector<Case> cases = {{"forward/gemma2-window", KvType::kF16, true},
                             {"forward/gpt2", KvType::kF32, false},
                             {"forward/qwen2moe-ties", KvType::kQ8_0, false}};
  if (test::extended()) {
    cases.push_back({"forward/gemma2-window", KvType::kBF16, false});
    cases.push_back({"forward/type-MXFP4", KvType::kF16, false});
  }
  for (const Case& one : cases) {
    Loaded model(one.model, one.deterministic);
    Twins twins(model, one.type);
    twins.ours.page_lists_vary = twins.theirs.page_lists_vary = true;
    std::mt19937 random(17);
    for (int i = 0; i < (test::extended() ? 90 : 30); ++i) {
      const std::vector<Part> parts = random_parts(random, twins.ours);
      if (!parts.empty()) twins.step(parts, one.model);
    }
    EXPECT(model.count("steps replayed") > model.count("steps issued"));
    EXPECT(model.count("steps replayed") > model.count("steps captured") + 5);
    EXPECT_EQ(model.count("captures failed"), 0u);
  }
}

TEST(steps_of_as_many_rows_differ_by_their_tiles) {
  Loaded model("forward/llama-biases");
  Twins twins(model);
  twins.ours.most_wanted = twins.theirs.most_wanted = 2;
  std::vector<Part> many;
  for (size_t s = 2; s < kSequences; ++s) many.push_back({s, 1});
  const std::vector<Part> two = {{0, 9}, {1, 9}};
  for (int i = 0; i < 4; ++i) {
    twins.ours.page_lists_vary = twins.theirs.page_lists_vary = false;
    twins.step(many, "of many sequences");
    twins.ours.page_lists_vary = twins.theirs.page_lists_vary = true;  // as many pages in all
    twins.step(two, "of two sequences");
  }
  EXPECT_EQ(model.count("steps captured"), 2u);
  EXPECT_EQ(model.count("steps replayed"), 6u);
}

TEST(a_replayed_step_is_one_launch_and_allocates_nothing) {
  Loaded model("arch/llama/model-f32");
  Travel travel(model, KvType::kF16);
  travel.run({{0, 9}});
  travel.run({{0, 1}});  // issued, and then captured
  travel.run({{0, 1}});
  const simt::DeviceState before = simt::device_state();
  for (int i = 0; i < 5; ++i) travel.run({{0, 1}});
  const simt::DeviceState& after = simt::device_state();
  EXPECT_EQ(after.n_graphs_launched - before.n_graphs_launched, 5u);
  EXPECT_EQ(after.n_allocations, before.n_allocations);
  EXPECT_EQ(model.count("steps issued"), 2u);
  EXPECT_EQ(model.count("steps captured"), 1u);
  EXPECT_EQ(model.count("steps replayed"), 6u);
}

TEST(a_step_of_a_known_shape_is_never_captured_again_whoever_is_in_it_and_however_long) {
  Loaded model("forward/gemma2-window");
  Twins twins(model);
  std::mt19937 random(3);
  for (size_t s = 0; s < kSequences; ++s)
    twins.step({{s, 1 + static_cast<int32_t>(random() % 60)}}, "of a prompt");
  std::vector<size_t> order(kSequences);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto step = [&] {
    std::ranges::shuffle(order, random);
    twins.step({{order[0], 1}, {order[1], 1}, {order[2], 1}, {order[3], 1}}, "of any four");
  };
  for (int i = 0; i < 2; ++i) step();
  const uint64_t captured = model.count("steps captured"), issued = model.count("steps issued"),
                 allocated = simt::device_state().n_allocations;
  for (int i = 0; i < 40; ++i) step();
  EXPECT_EQ(model.count("steps captured"), captured);
  EXPECT_EQ(model.count("steps issued"), issued);
  EXPECT_EQ(simt::device_state().n_allocations, allocated);
  EXPECT_EQ(model.count("graphs dropped"), 0u);
}

TEST(steps_of_sizes_that_were_seen_allocate_nothing_whoever_is_in_them) {
  for (const char* name : {"forward/gemma2-window", "forward/qwen2moe-ties"}) {
    Loaded model(name);
    Travel travel(model, KvType::kF16);
    // The same sizes twice, by other sequences each time.
    const auto run_all = [&](size_t first) {
      std::mt19937 random(29);
      for (int i = 0; i < 24; ++i) {
        std::vector<Part> parts;
        for (size_t s = 0; s < 3; ++s) {
          const int32_t n = random() % 8 == 0 ? 1 + static_cast<int32_t>(random() % 19) : 1;
          if (random() % 4 == 0) continue;
          const size_t sequence = (first + s) % kSequences;
          if (travel.done(sequence) + n <= 90) parts.push_back({sequence, n});
        }
        if (!parts.empty()) travel.run(parts);
      }
    };
    run_all(0);
    const uint64_t allocated = simt::device_state().n_allocations;
    run_all(7);
    EXPECT_EQ(simt::device_state().n_allocations, allocated);
    EXPECT(model.count("steps replayed") > 12);
    EXPECT(model.count("steps issued") > 0);
  }
}

TEST(working_memory_that_moves_takes_its_graphs_along) {
  Loaded model("forward/type-MXFP4");
  Twins twins(model);
  for (int i = 0; i < 4; ++i) twins.step({{0, 1}});
  EXPECT_EQ(model.count("steps captured"), 1u);
  twins.step({{1, 70}});  // more rows than ever
  EXPECT_EQ(model.count("graphs dropped"), 0u);
  for (int i = 0; i < 3; ++i) twins.step({{0, 1}}, "after the move");
  EXPECT_EQ(model.count("graphs dropped"), 1u);
  EXPECT_EQ(model.count("steps captured"), 2u);
}

TEST(another_cache_is_another_form) {
  Loaded model("forward/llama-biases");
  Twins twins(model);
  for (int i = 0; i < 12; ++i) {
    twins.ours.in_other_cache = twins.theirs.in_other_cache = i % 2 == 1;
    twins.step({{0, 1}});
    if (i % 2 == 0) {  // the same token goes into both caches
      twins.ours.forget_last(0, 1);
      twins.theirs.forget_last(0, 1);
    }
  }
  EXPECT_EQ(model.count("steps captured"), 2u);
  EXPECT_EQ(model.count("steps replayed"), 10u);
}

TEST(a_capture_that_fails_is_counted_and_the_step_is_issued) {
  const Device restore;
  Loaded model("forward/llama-biases");
  Twins twins(model);
  simt::device_state().fails_captures = true;
  for (int i = 0; i < 4; ++i) twins.step({{0, 1}}, "while captures fail");
  EXPECT_EQ(model.count("captures failed"), 1u);  // and is not tried again
  EXPECT_EQ(model.count("steps issued"), 4u);
  EXPECT_EQ(model.count("steps replayed"), 0u);
  simt::device_state().fails_captures = false;
  for (int i = 0; i < 3; ++i) twins.step({{0, 1}, {1, 1}}, "of another form");
  EXPECT_EQ(model.count("steps replayed"), 2u);
}

TEST(a_step_that_is_cancelled_leaves_no_half_a_graph) {
  Loaded model("forward/llama-biases");
  Twins twins(model);
  const std::atomic<bool> cancelled = true;
  const auto cancel = [&] { EXPECT_ERROR(kCancelled, { twins.ours.run({{0, 1}}, &cancelled); }); };
  twins.step({{0, 1}});
  cancel();  // while it would be captured
  EXPECT_EQ(model.count("steps captured"), 0u);
  twins.step({{0, 1}}, "after a cancelled capture");
  EXPECT_EQ(model.count("steps captured"), 1u);
  const uint64_t launched = simt::device_state().n_graphs_launched;
  cancel();  // while it would be replayed
  EXPECT_EQ(simt::device_state().n_graphs_launched, launched);
  twins.step({{0, 1}}, "after a cancelled replay");
  EXPECT_EQ(model.count("steps replayed"), 2u);
}

TEST(a_device_that_is_lost_in_a_graph_fails_the_step_and_stays_lost) {
  const Device restore;
  Loaded model("forward/llama-biases");
  Travel travel(model, KvType::kF16);
  for (int i = 0; i < 3; ++i) travel.run({{0, 1}});
  simt::device_state().fail_launch_in = 5;
  EXPECT_ERROR(kDevice, { travel.run({{0, 1}}); });
  simt::device_state().lost = false;
  const std::string text = EXPECT_ERROR(kDevice, { travel.run({{0, 1}}); });
  EXPECT(test::contains(text, "was lost"));
}

TEST(adapters_on_the_same_rows_are_one_form_and_others_are_another) {
  const auto file = gguf::GgufFile::open(REALM_GOLDEN_DIR "/arch/qwen3/model-f32.gguf");
  const auto model = Model::load(file, {.device = "cuda", .n_threads = 1});
  const auto load = [&](const char* name) {
    const std::string path = concat(REALM_GOLDEN_DIR "/arch/qwen3/adapters/", name);
    model->adapters().load(name, lora::open_adapter(path), true);
    return model->adapters().set_of({{name, 0.5f}});
  };
  const auto count = [&](const char* path) { return count_of(model->backend(), path); };
  auto all_linear = load("all-linear"), dora = load("dora");
  Twins twins(*model);
  const auto run = [&](const AdapterSet* first, const AdapterSet* second, const char* what) {
    for (Travel* one : {&twins.ours, &twins.theirs}) {
      one->adapters[0] = first;
      one->adapters[1] = second;
    }
    for (int i = 0; i < 3; ++i) twins.step({{0, 1}, {1, 1}, {2, 1}}, what);
  };
  run(all_linear.get(), dora.get(), "with adapters");
  EXPECT_EQ(count("steps captured"), 1u);
  EXPECT_EQ(count("steps replayed"), 2u);
  run(dora.get(), all_linear.get(), "with the adapters of the other");
  run(nullptr, all_linear.get(), "with one");
  EXPECT_EQ(count("steps captured"), 3u);
  all_linear.reset();
  all_linear = load("all-linear");  // the same, elsewhere
  run(dora.get(), all_linear.get(), "that were loaded anew");
  EXPECT_EQ(count("steps captured"), 4u);
  EXPECT_EQ(count("steps replayed"), 8u);
  EXPECT_EQ(count("captures failed"), 0u);
}

TEST(an_adapter_of_all_rows_is_one_form_whoever_is_in_the_step) {
  const auto file = gguf::GgufFile::open(REALM_GOLDEN_DIR "/arch/qwen3/model-f32.gguf");
  const auto model = Model::load(file, {.device = "cuda", .n_threads = 1});
  const std::string path = REALM_GOLDEN_DIR "/arch/qwen3/adapters/all-linear";
  model->adapters().load("one", lora::open_adapter(path), true);
  const auto set = model->adapters().set_of({{"one", 0.5f}});
  Twins twins(*model);
  for (Travel* travel : {&twins.ours, &twins.theirs})
    std::ranges::fill(travel->adapters, set.get());
  const std::vector<std::vector<Part>> steps = {
      {{0, 1}, {1, 1}, {2, 1}}, {{2, 1}, {0, 1}, {1, 1}}, {{5, 1}, {2, 1}, {9, 1}}};
  for (int i = 0; i < 2; ++i) {
    for (const auto& parts : steps) twins.step(parts, "with the adapter");
  }
  EXPECT_EQ(count_of(model->backend(), "steps captured"), 1u);
  EXPECT_EQ(count_of(model->backend(), "steps replayed"), 5u);
}

TEST(steps_whose_arrays_overlap_are_issued) {
  Loaded model("forward/llama-biases");
  const KvStorage cache(*model.backend, model.config, KvType::kF16, kPages);
  Decoder decoder(*model.backend, model.config, model.weights, 4, 4);
  const Tokens tokens{0}, page{2};
  const SequenceSpan span{0, 1, 0, 100, page};
  for (int i = 0; i < 3; ++i) decoder.run({tokens, tokens, {&span, 1}, tokens}, cache);
  EXPECT_EQ(model.count("steps issued"), 3u);
  EXPECT_EQ(model.count("steps captured"), 0u);
}

namespace {

// A recorder over ops of its own: rows of a table, by tokens.
struct Lookup {
  test::GpuDevice device{make_cuda_backend(0, false)};
  std::unique_ptr<StepRecorder> recorder = device.backend->make_step_recorder();
  const Floats values = test::normal_values(50 * 32, 3);
  const std::unique_ptr<Weight> table =
      device.backend->load_weight({DType::kF32, 50, 32, std::as_bytes(std::span(values)), nullptr});
  const Matrix out = device.poisoned(64, 32);

  // Whether the rows are right.
  bool run(const Tokens& tokens) {
    const StepBatch step{tokens, {}, {}, {}};
    const Matrix rows = out.first_rows(std::ssize(tokens));
    recorder->run(step, {}, {}, [&] { device.backend->embed(*table, tokens, 1.0f, rows); });
    const Floats got = device.read(rows);
    for (size_t i = 0; i < got.size(); ++i)
      if (got[i] != values[static_cast<size_t>(tokens[i / 32]) * 32 + i % 32]) return false;
    return true;
  }
  uint64_t count(const std::string& path) const { return count_of(*device.backend, path); }
};

}  // namespace

TEST(graphs_are_bounded_and_the_one_used_longest_ago_goes) {
  Lookup lookup;
  const auto run = [&](size_t n_rows, int32_t token) { EXPECT(lookup.run(Tokens(n_rows, token))); };
  constexpr size_t kMost = cuda::StepGraphs::kMaxGraphs;
  run(64, 0);  // so that no memory moves later
  for (size_t n = 1; n <= kMost; ++n) {
    for (int32_t i = 0; i < 3; ++i) run(n, i);
  }
  EXPECT_EQ(lookup.count("steps captured"), kMost);
  EXPECT_EQ(lookup.count("graphs dropped"), 0u);
  run(1, 7);  // so 2 is the oldest
  for (int32_t i = 0; i < 3; ++i) run(kMost + 1, i);
  EXPECT_EQ(lookup.count("graphs dropped"), 1u);
  const uint64_t replayed = lookup.count("steps replayed");
  run(1, 9);
  EXPECT_EQ(lookup.count("steps replayed"), replayed + 1);
  run(2, 9);  // forgotten: issued as if it were new
  EXPECT_EQ(lookup.count("steps replayed"), replayed + 1);
  EXPECT_EQ(lookup.count("steps captured"), kMost + 1);
}

TEST(ops_that_read_words_of_elsewhere_are_not_captured) {
  Lookup lookup;
  const Tokens tokens{1, 2, 3}, others{4, 5, 6};
  const StepBatch step{tokens, {}, {}, {}};
  for (int i = 0; i < 4; ++i) {
    lookup.recorder->run(step, {}, {}, [&] {
      lookup.device.backend->embed(*lookup.table, others, 1.0f, lookup.out.first_rows(3));
    });
    EXPECT_EQ(lookup.device.read(lookup.out.first_rows(3))[0], lookup.values[4 * 32]);
  }
  EXPECT_EQ(lookup.count("captures failed"), 1u);
  EXPECT_EQ(lookup.count("steps issued"), 4u);
}

TEST(graphs_end_with_their_decoder) {
  Loaded model("forward/llama-biases");
  uint64_t before = 0;
  for (int round = 0; round < 3; ++round) {
    {
      Travel travel(model, KvType::kF16);
      for (int i = 0; i < 4; ++i) travel.run({{0, 1}});
    }
    if (round == 0) before = simt::device_state().used_bytes;  // working memory of ops stays
  }
  EXPECT_EQ(simt::device_state().used_bytes, before);
}
