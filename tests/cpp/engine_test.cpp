// The engine's face: what requests get, and what they are told when they get nothing.
#include "engine/engine.h"

#include <vector>

#include "cpp/engine_world.h"
#include "cpp/harness.h"

using namespace realm;
using namespace realm::test;

namespace {

RequestOptions request(Tokens prompt, int64_t max_tokens, uint64_t seed = 1) {
  RequestOptions options;
  options.prompt = std::move(prompt);
  options.params.max_tokens = max_tokens;
  options.params.temperature = 0.8;
  options.params.seed = seed;
  options.params.ignore_eos = true;
  return options;
}

}  // namespace

TEST(a_request_gets_the_answer_it_gets_alone) {
  const auto model = demo();
  Engine engine(model, {.record_logits_hash = true});
  Random random(1);
  const auto options = request(random_tokens(random, 20, 100), 12);
  const auto submitted = engine.submit(options);
  EXPECT(answer_of(*submitted) == alone(model, options, KvType::kF16));
  EXPECT_EQ(submitted->report().n_generated, 12);
}

TEST(many_requests_get_the_answers_they_get_alone) {
  const auto model = golden("forward/gemma3-global-layer");
  Engine engine(model, {.max_sequences = 8, .max_step_tokens = 64, .record_logits_hash = true});
  Random random(2);
  std::vector<RequestOptions> asked;
  std::vector<std::shared_ptr<Request>> requests;
  for (uint64_t i = 0; i < 20; ++i) {
    asked.push_back(
        request(random_tokens(random, between(random, 1, 90), 96), between(random, 1, 40), i));
    requests.push_back(engine.submit(asked.back()));
  }
  for (size_t i = 0; i < asked.size(); ++i) {
    EXPECT(answer_of(*requests[i]) == alone(model, asked[i], KvType::kF16));
  }
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.total_requests, 20u);
  EXPECT_EQ(stats.active_requests, 0);
  EXPECT_EQ(stats.kv_blocks_used, 0);
}
