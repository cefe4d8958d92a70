// The CUDA backend as an engine meets it, on the emulated device: devices by name, memory that runs
// out, a device that is lost, steps that allocate nothing, and in deterministic mode the promise
// that a sequence gets the bits it gets alone.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "cpp/cuda_device.h"
#include "cpp/harness.h"
#include "cuda/emulation/runtime.h"
#include "model/decoder.h"
#include "model/solo_sequence.h"

using namespace realm;
using test::Floats;

namespace {

using Tokens = std::vector<int32_t>;

std::shared_ptr<Model> load(const std::string& name, const std::string& device) {
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", name, ".gguf"));
  return Model::load(file, {.device = device, .n_threads = 1});
}

// Restores the emulated device when a test is done with it.
struct Device {
  simt::DeviceState before = simt::device_state();
  ~Device() {
    simt::DeviceState& state = simt::device_state();
    state.memory_bytes = before.memory_bytes;
    state.fail_launch_in = 0;
    state.lost = false;
  }
};

Tokens some_tokens(size_t n) {
  Tokens tokens(n);
  for (size_t i = 0; i < n; ++i) tokens[i] = static_cast<int32_t>(3 + i * 7 % 25);
  return tokens;
}

}  // namespace

TEST(devices_are_chosen_by_name_and_refused_with_a_reason) {
  EXPECT(test::contains(make_backend("cuda", 1)->description(), "cuda 0, emulated"));
  EXPECT(test::contains(make_backend("cuda:0", 1)->description(), "sm_90"));
  EXPECT(test::contains(make_backend("auto", 1)->description(), "cpu"));
  const std::string absent = EXPECT_ERROR(kDevice, { make_backend("cuda:1", 1); });
  EXPECT(test::contains(absent, "no CUDA device 1; this machine has 1"));
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:1x", "cuda:-1", "CUDA"})
    EXPECT_ERROR(kInvalidRequest, { make_backend(name, 1); });
  const BackendProbe probe = probe_cuda();
  EXPECT(probe.available && probe.devices.size() == 1 && probe.devices[0].memory_bytes > 0);
}

TEST(a_model_that_does_not_fit_is_refused_with_the_numbers) {
  const Device restore;
  simt::DeviceState& state = simt::device_state();
  const uint64_t before = state.used_bytes;
  state.memory_bytes = before + (300 << 10);
  const std::string text = EXPECT_ERROR(kOutOfMemory, { load("quant/Q4_K_M", "cuda"); });
  EXPECT(test::contains(text, "free of") && test::contains(text, "are needed"));
  EXPECT_EQ(state.used_bytes, before);  // nothing is left behind
}

TEST(a_lost_device_fails_its_requests_and_nobody_else) {
  const Device restore;
  const auto cuda = load("arch/llama/model-f32", "cuda"), cpu = load("arch/llama/model-f32", "cpu");
  const Tokens tokens = some_tokens(6);
  Floats logits(6 * static_cast<size_t>(cuda->config().n_vocab));
  SoloSequence sequence(cuda, {.kv_type = KvType::kF16, .max_tokens = 40, .adapters = {}});
  sequence.append(tokens, 6, logits.data());
  simt::device_state().fail_launch_in = 9;
  EXPECT_ERROR(kDevice, { sequence.append(tokens, 6, logits.data()); });
  EXPECT_EQ(sequence.length(), 6);
  simt::device_state().lost = false;  // the backend stays lost all the same
  const std::string text = EXPECT_ERROR(kDevice, { sequence.append(tokens, 6, logits.data()); });
  EXPECT(test::contains(text, "was lost"));
  SoloSequence(cpu, {.max_tokens = 40, .adapters = {}}).append(tokens, 6, logits.data());
  SoloSequence(load("arch/llama/model-f32", "cuda"), {.max_tokens = 40, .adapters = {}})
      .append(tokens, 6, logits.data());
}

TEST(steps_of_a_size_that_was_seen_allocate_nothing) {
  for (const char* name : {"quant/Q4_K_M", "arch/mixtral/model-f32"}) {
    const auto model = load(name, "cuda");
    SoloSequence sequence(model, {.kv_type = KvType::kF16, .max_tokens = 120, .adapters = {}});
    Floats logits(static_cast<size_t>(model->config().n_vocab));
    sequence.append(some_tokens(20), 1, logits.data());
    sequence.append(some_tokens(1), 1, logits.data());
    const uint64_t before = simt::device_state().n_allocations;
    for (int i = 0; i < 4; ++i) sequence.append(some_tokens(1), 1, logits.data());
    sequence.append(some_tokens(20), 1, logits.data());
    EXPECT_EQ(simt::device_state().n_allocations, before);
  }
}

TEST(memory_returns_when_models_end) {
  const uint64_t before = simt::device_state().used_bytes;
  for (int i = 0; i < 3; ++i) {
    const auto model = load("forward/llama-biases", "cuda");
    Floats logits(static_cast<size_t>(model->config().n_vocab));
    SoloSequence(model, {.max_tokens = 9, .adapters = {}}).append(some_tokens(9), 1, logits.data());
    EXPECT(simt::device_state().used_bytes > before);
  }
  EXPECT_EQ(simt::device_state().used_bytes, before);
}

TEST(head_widths_beyond_the_kernels_are_refused_before_any_step) {
  const auto backend = make_backend("cuda", 1);
  const std::string text = EXPECT_ERROR(kFormat, { backend->kv_page_bytes(KvType::kF16, 1, 513); });
  EXPECT(test::contains(text, "513") && test::contains(text, "512"));
}

namespace {

// A model on a deterministic backend: weights are loaded anew beside Model, which has no such
// option.
struct Deterministic {
  std::shared_ptr<const gguf::GgufFile> file;
  ModelConfig config;
  std::unique_ptr<Backend> backend = make_cuda_backend(0, true);
  ModelWeights weights;

  explicit Deterministic(const std::string& name)
      : file(gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", name, ".gguf"))),
        config(parse_config(*file)),
        weights(load_weights(file, config, *backend, {})) {}
};

struct Part {
  size_t sequence;
  int32_t n;
};

// Runs the parts of a step of two sequences; the logits of all rows of the first sequence.
Floats run_step(Deterministic& model, Decoder& decoder, const KvStorage& cache,
                const std::vector<Tokens>& texts, const std::vector<Tokens>& pages,
                std::vector<int32_t>& done, const std::vector<Part>& parts) {
  Tokens tokens, positions, wanted;
  std::vector<SequenceSpan> spans;
  for (const Part& part : parts) {
    int32_t& at = done[part.sequence];
    spans.push_back({static_cast<int32_t>(tokens.size()), part.n, at, 80, pages[part.sequence]});
    for (int32_t i = 0; i < part.n; ++i, ++at) {
      if (part.sequence == 0) wanted.push_back(static_cast<int32_t>(tokens.size()));
      tokens.push_back(texts[part.sequence][static_cast<size_t>(at)]);
      positions.push_back(at);
    }
  }
  decoder.run({tokens, positions, spans, wanted}, cache);
  Floats logits(wanted.size() * static_cast<size_t>(model.config.n_vocab));
  model.backend->download(decoder.logits().data, logits.data(), logits.size() * 4);
  return logits;
}

Floats run_schedule(const std::string& name, const std::vector<std::vector<Part>>& steps) {
  Deterministic model(name);
  const std::vector<Tokens> texts{some_tokens(60), some_tokens(50)}, pages{{3, 1}, {0, 2}};
  const KvStorage cache(*model.backend, model.config, KvType::kF16, {4, 4});
  Decoder decoder(*model.backend, model.config, model.weights, 64, 64);
  std::vector<int32_t> done(2);
  Floats all;
  for (const auto& step : steps) {
    const Floats logits = run_step(model, decoder, cache, texts, pages, done, step);
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

}  // namespace

TEST(a_deterministic_sequence_has_the_bits_it_has_alone) {
  for (const char* name :
       {"forward/gemma2-window", "forward/mixtral-8-experts", "forward/type-MXFP4"}) {
    const Floats alone = run_schedule(name, {{{0, 50}}});
    const Floats company = run_schedule(
        name, {{{1, 7}}, {{0, 20}, {1, 1}}, {{1, 12}, {0, 1}}, {{0, 3}, {1, 30}}, {{0, 26}}});
    EXPECT_EQ(alone.size(), company.size());
    if (std::memcmp(alone.data(), company.data(), alone.size() * 4) != 0)
      test::report_failure(__FILE__, __LINE__, concat(name, ": other bits"));
  }
}
