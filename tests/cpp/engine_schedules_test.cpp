// One answer per request: in random schedules over models of every kind, each request's tokens,
// text and logits are those it gets alone. And the inverse: a forward that depends on its company
// is found out.
#include "cpp/engine_schedules.h"

#include <cmath>

#include "cpp/harness.h"
#include "lora/adapter_source.h"
#include "model/adapter_store.h"

using namespace realm;
using namespace realm::test;

namespace {

// Every architecture with something of its own in the cache or between rows, sums of more than 512
// elements, widths that are no multiple of 16, and quantized weights.
const char* const kModels[] = {
    "forward/llama-deep-sums", "forward/llama-ragged",      "forward/gemma3-global-layer",
    "forward/mistral-window",  "forward/gemma2-window",     "forward/phi3-longrope",
    "forward/qwen2moe-ties",   "forward/mixtral-8-experts", "forward/gpt2"};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

const char* const kQuantized[] = {"quant/Q8_0", "quant/Q4_K_M"};

}  // namespace

TEST(answers_in_random_schedules_are_those_of_each_request_alone) {
  Outcome all;
  for (const int n_threads : {1, 2}) {
    const auto seed = static_cast<unsigned>(n_threads) * 1000;
    for (const char* name : kModels) {
      all += run_schedules(name, {.model = golden(name, n_threads)}, seed,
                           kIsSanitized ? 2 : scaled(16));
    }
  }
  EXPECT(all.n_answers > 200);
  EXPECT(all.n_cancelled > 10);
  EXPECT(all.n_preempted > 10);
  EXPECT(all.n_hits > 10);
  EXPECT(all.widest >= 8);
}

TEST(quantized_and_larger_models_keep_the_promise_too) {
  if (kIsSanitized) return;  // what is theirs alone are kernels, which have suites of their own
  const auto small = [](std::shared_ptr<Model> model) {
    return Setting{
        .model = std::move(model), .max_prompt = 30, .max_tokens = 8, .max_requests = 10};
  };
  for (const char* name : kQuantized) {
    EXPECT(run_schedules(name, small(golden(name)), 1, scaled(8)).n_answers > 0);
  }
  EXPECT(run_schedules("demo", small(demo()), 1, scaled(8)).n_answers > 0);
}

TEST(adapters_of_every_mix_keep_the_promise_too) {
  const auto model = demo();
  AdapterStore& store = model->adapters();
  const auto pirate = lora::open_adapter(REALM_GOLDEN_DIR "/../../python/realm_ext/demo/adapter");
  store.load("one", pirate, true);
  store.load("two", pirate, true);
  const Setting setting{
      .model = model,
      .max_prompt = 60,
      .max_tokens = 8,
      .max_requests = 12,
      .adapters = {nullptr, store.set_of({{"one", 1.0f}}), store.set_of({{"one", -0.5f}}),
                   store.set_of({{"one", 0.25f}, {"two", 1.5f}})}};
  const Outcome all = run_schedules("adapters", setting, 1, kIsSanitized ? 1 : scaled(12));
  EXPECT(all.n_answers > 0);
}

TEST(a_forward_that_depends_on_its_company_is_found_out) {
  const auto lean = [](const StepBatch& step, std::span<float> logits) {
    if (step.spans.size() < 2) return;
    for (float& logit : logits) logit = std::nextafter(logit, 0.0f);
  };
  const auto model = golden("forward/llama-ragged");
  Outcome all;
  for (unsigned seed = 0; seed < 4; ++seed) {
    const Setting setting{.model = model, .max_prompt = 30, .max_tokens = 15, .disturb = lean};
    all += RandomSchedule(setting, seed).run();
  }
  EXPECT(all.n_wrong > 0);
}
