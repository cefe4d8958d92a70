// The whole forward on the emulated Metal device, for every architecture, cache and weight format
// that it has kernels for: each kind of block, cache and format once; REALM_EXTENDED=1 runs every
// golden model. Weights are as the file has them and everything is f32 but the cache, so what the
// CPU computes with f32 activations is met more closely than the budgets of other backends ask.
#include "cpp/gpu_forward.h"

using namespace realm;
using test::some;

namespace {

void expect_near(const std::string& path, KvType type, double budget, int64_t n_tokens = 40) {
  test::expect_near("metal", path, type, budget, n_tokens);
}

}  // namespace

TEST(every_architecture_gives_the_logits_of_the_cpu) {
  for (const char* name : some({"llama", "qwen3", "gemma2", "mixtral"},
                               {"gemma3", "granite", "llama-yarn", "llama3-rope", "olmo2", "phi3",
                                "qwen2", "qwen2moe", "qwen3moe", "smollm3"})) {
    expect_near(concat("arch/", name, "/model-f32"), KvType::kF16, 1e-5);
  }
}

TEST(an_exact_cache_gives_the_logits_but_for_the_order_of_sums) {
  for (const char* name : some({"gemma2", "llama"}, {"mixtral", "qwen3"}))
    expect_near(concat("arch/", name, "/model-f32"), KvType::kF32, 1e-9);
}

TEST(half_weights_and_corners_of_the_architectures_stay_near) {
  for (const char* name :
       some({"gemma2-window", "gpt2", "llama-heads-80", "llama-ragged"},
            {"gemma3-global-layer", "llama-heads-128", "llama-heads-64", "llama-heads-96",
             "mistral-window", "phi3-longrope", "qwen2moe-ties", "starcoder2"})) {
    expect_near(concat("forward/", name), KvType::kF16, 1e-5, 60);
  }
}

TEST(caches_of_every_type_stay_within_their_rounding) {
  for (const char* name : some({"gemma2-window"}, {"llama-heads-80"})) {
    expect_near(concat("forward/", name), KvType::kBF16, 1e-4, 60);
    expect_near(concat("forward/", name), KvType::kQ8_0, 3e-4, 60);
  }
}

TEST(every_weight_format_stays_far_within_its_own_rounding) {
  for (const char* name : some({"Q4_K_M", "Q8_0"}, {"F16", "BF16", "Q4_0", "Q5_K_M", "Q6_K"}))
    expect_near(concat("quant/", name), KvType::kF16, 1e-5, 12);
}
