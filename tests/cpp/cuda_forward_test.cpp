// The whole forward on the emulated CUDA device, for every architecture, cache and weight format:
// each kind of block, cache and format once; REALM_EXTENDED=1 runs every golden model.
#include "cpp/gpu_forward.h"

using namespace realm;
using test::extended;
using test::some;

namespace {

void expect_near(const std::string& path, KvType type, double budget, int64_t n_tokens = 40) {
  test::expect_near("cuda", path, type, budget, n_tokens);
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

TEST(activations_in_f32_compute_with_the_exact_values_of_any_format) {
  for (const char* name : some({"quant/Q4_K_M", "forward/type-MXFP4"},
                               {"quant/BF16", "quant/F16", "quant/IQ3_S", "quant/Q8_0"})) {
    const auto cpu = test::load(name, "cpu");
    const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", name, ".gguf"));
    const auto gpu = Model::load(file, {.device = "cuda", .activations = ActivationKind::kF32});
    EXPECT(test::contains(gpu->backend().description(), "f32 activations"));
    const auto tokens = test::random_tokens(7, cpu->config().n_vocab);
    const auto expected = test::logits(cpu, tokens, KvType::kF32, 512);
    EXPECT(test::nmse(test::logits(gpu, tokens, KvType::kF32, 4), expected) <= 1e-9);
  }
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
