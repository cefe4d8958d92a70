// The whole forward through the CUDA backend on the emulated device, for every architecture, cache
// and weight format, against the CPU backend, which tests/python/test_forward.py holds to 1e-9 of
// float64 oracles.
//
// Each kind of block, cache and format once; REALM_EXTENDED=1 runs every golden model.
#include <cmath>
#include <cstdlib>
#include <random>

#include "backend/registry.h"
#include "cpp/harness.h"
#include "cuda/emulation/runtime.h"
#include "model/decoder.h"
#include "model/solo_sequence.h"

using namespace realm;

namespace {

using Floats = std::vector<float>;
using Tokens = std::vector<int32_t>;

std::shared_ptr<Model> load(const std::string& path, const std::string& device) {
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", path, ".gguf"));
  return Model::load(file, {.device = device, .n_threads = 2, .activations = ActivationKind::kF32});
}

Tokens random_tokens(int64_t n, int64_t n_vocab) {
  std::mt19937 random(5);
  Tokens tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens)
    token = static_cast<int32_t>(random() % static_cast<uint64_t>(n_vocab));
  return tokens;
}

Floats logits(const std::shared_ptr<Model>& model, const Tokens& tokens, KvType type,
              int64_t chunk) {
  const auto n = static_cast<int64_t>(tokens.size());
  Floats values(static_cast<size_t>(n * model->config().n_vocab));
  SoloSequence(model, {.kv_type = type, .max_tokens = n, .chunk_rows = chunk, .adapters = {}})
      .append(tokens, n, values.data());
  return values;
}

// Squared differences over the reference's squares; infinite for NaN.
double nmse(const Floats& values, const Floats& reference) {
  double error = 0, power = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double{values[i]} - reference[i], 2);
    power += std::pow(double{reference[i]}, 2);
  }
  return error / power <= 1e9 ? error / power : INFINITY;
}

bool extended() {
  return std::getenv("REALM_EXTENDED") != nullptr;
}

using Names = std::vector<const char*>;

// The first names always, the others when much time is granted.
Names some(const Names& always, const Names& others) {
  Names names = always;
  if (extended()) names.insert(names.end(), others.begin(), others.end());
  return names;
}

// A prompt in one piece, then in chunks that the kernels of few rows serve.
void expect_near(const std::string& path, KvType type, double budget, int64_t n_tokens = 40) {
  const auto cpu = load(path, "cpu"), cuda = load(path, "cuda");
  const Tokens tokens =
      random_tokens(std::min(n_tokens, cpu->config().n_ctx), cpu->config().n_vocab);
  const Floats expected = logits(cpu, tokens, KvType::kF32, 512);
  for (const int64_t chunk : {int64_t{512}, int64_t{5}}) {
    const double error = nmse(logits(cuda, tokens, type, chunk), expected);
    if (!(error <= budget)) {
      test::report_failure(__FILE__, __LINE__,
                           concat(path, ", cache ", static_cast<int>(type), ", chunks of ", chunk,
                                  ": NMSE ", error, " above ", budget));
    }
  }
}

}  // namespace

TEST(every_architecture_gives_the_logits_of_the_cpu) {
  for (const char* name : some({"llama", "qwen3", "gemma2", "mixtral"},
                               {"gemma3", "granite", "llama-yarn", "llama3-rope", "olmo2", "phi3",
                                "qwen2", "qwen2moe", "qwen3moe", "smollm3"})) {
    expect_near(concat("arch/", name, "/model-f32"), KvType::kF16, 1e-5);
  }
}

TEST(an_exact_cache_and_exact_weights_give_the_bits_but_for_rounding) {
  for (const char* name : some({"gemma2"}, {"llama", "mixtral", "qwen3"}))
    expect_near(concat("arch/", name, "/model-f32"), KvType::kF32, 1e-9);
}

TEST(half_weights_and_corners_of_the_architectures_stay_near) {
  for (const char* name :
       some({"gemma2-window", "gpt2", "llama-heads-80", "llama-ragged"},
            {"gemma3-global-layer", "llama-heads-128", "llama-heads-64", "llama-heads-96",
             "mistral-window", "phi3-longrope", "qwen2moe-ties", "starcoder2"})) {
    expect_near(concat("forward/", name), KvType::kF16, 1e-5, 60);
  }
  // After 40 of these tokens two experts are so near that any rounding swaps them.
  if (extended()) expect_near("forward/mixtral-8-experts", KvType::kF16, 1e-5, 40);
}

TEST(caches_of_every_type_stay_within_their_rounding) {
  for (const char* name : some({"gemma2-window"}, {"llama-heads-80"})) {
    expect_near(concat("forward/", name), KvType::kBF16, 1e-4, 60);
    expect_near(concat("forward/", name), KvType::kQ8_0, 3e-4, 60);
  }
}

TEST(every_weight_format_stays_within_the_rounding_of_its_input) {
  for (const char* name :
       some({"Q4_K_M", "Q8_0", "IQ3_S"}, {"F16", "BF16", "Q2_K", "Q3_K_M", "Q4_0", "Q4_1", "Q5_0",
                                          "Q5_1", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS", "TQ1_0"})) {
    expect_near(concat("quant/", name), KvType::kF16, 1e-3, 12);
  }
  for (const char* name :
       some({"type-F64", "type-MXFP4"}, {"type-IQ1_M", "type-NVFP4", "type-Q8_K"}))
    expect_near(concat("forward/", name), KvType::kF16, 1e-3, 20);
}
