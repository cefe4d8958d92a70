// One answer per request: in random schedules over models of every kind, each request's tokens,
// text and logits are those it gets alone. And the inverse: a forward that depends on its company
// is found out.
#include "cpp/engine_schedules.h"

#include <cmath>

#include "cpp/harness.h"

using namespace realm;
using namespace realm::test;

namespace {

// Every architecture with something of its own in the cache or between rows, sums of more than 512
// elements, widths that are no multiple of 16, and quantized weights.
const char* const kModels[] = {
    "forward/llama-deep-sums", "forward/llama-ragged",      "forward/gemma3-global-layer",
    "forward/mistral-window",  "forward/gemma2-window",     "forward/phi3-longrope",
    "forward/qwen2moe-ties",   "forward/mixtral-8-experts", "forward/gpt2"};
const char* const kQuantized[] = {"quant/Q8_0", "quant/Q4_K_M"};

}  // namespace

TEST(answers_in_random_schedules_are_those_of_each_request_alone) {
  Outcome all;
  for (const int n_threads : {1, 2}) {
    const auto seed = static_cast<unsigned>(n_threads) * 1000;
    for (const char* name : kModels) {
      const Setting setting{.model = golden(name, n_threads)};
      all += run_schedules(name, setting, seed, scaled(2));
    }
    for (const char* name : kQuantized) {
      const Setting setting{
          .model = golden(name, n_threads), .max_prompt = 30, .max_tokens = 8, .max_requests = 12};
      all += run_schedules(name, setting, seed, scaled(1));
    }
  }
  EXPECT(all.n_answers > 200);
  EXPECT(all.n_cancelled > 10);
  EXPECT(all.n_preempted > 10);
  EXPECT(all.n_hits > 10);
  EXPECT(all.widest >= 8);
}

TEST(the_demo_model_keeps_the_promise_too) {
  const Outcome all = run_schedules(
      "demo", {.model = demo(), .max_prompt = 60, .max_tokens = 12, .max_requests = 10}, 1,
      scaled(3));
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
