// What goes wrong with one request ends that request alone, with a typed error; what goes wrong
// with a step ends those in it, and the engine lives on.
#include <limits>
#include <new>

#include "cpp/engine_world.h"
#include "cpp/harness.h"

using namespace realm;
using namespace realm::test;

namespace {

RequestOptions request(Random& random, int64_t n_prompt, int64_t max_tokens) {
  RequestOptions options;
  options.prompt = random_tokens(random, n_prompt, 96);
  options.params.max_tokens = max_tokens;
  options.params.seed = random();
  options.params.ignore_eos = true;
  return options;
}

// A request that is known by its planned length, which no other has.
constexpr int64_t kMarkedLength = 77;

RequestOptions marked(Random& random) {
  return request(random, 17, kMarkedLength - 17);
}

// Puts `value` into the logits of the marked request, from its n-th token on.
StepHook spoil(float value, int64_t position) {
  return [=](const StepBatch& step, std::span<float> logits) {
    const size_t n_vocab = step.rows_wanted.empty() ? 0 : logits.size() / step.rows_wanted.size();
    for (size_t i = 0; i < step.rows_wanted.size(); ++i) {
      for (const SequenceSpan& span : step.spans) {
        const int32_t row = step.rows_wanted[i] - span.first_row;
        if (row < 0 || row >= span.n_rows || span.planned_tokens != kMarkedLength) continue;
        if (span.first_pos + row >= position) logits[i * n_vocab + 5] = value;
      }
    }
  };
}

void expect_one_failure(const StepHook& hook, size_t n_tokens) {
  const auto model = golden("forward/llama-ragged");
  Engine engine(model, {.max_sequences = 4, .record_logits_hash = true}, hook);
  Random random(1);
  const RequestOptions bad = marked(random);
  std::vector<RequestOptions> good;
  std::vector<std::shared_ptr<Request>> requests;
  const auto failing = engine.submit(bad);
  for (int i = 0; i < 6; ++i) {
    good.push_back(request(random, between(random, 1, 40), 20));
    requests.push_back(engine.submit(good.back()));
  }
  const Answer answer = answer_of(*failing);
  EXPECT(answer.reason == FinishReason::kError);
  EXPECT(failing->report().finish->error->code() == ErrorCode::kFormat);
  EXPECT_EQ(answer.tokens.size(), n_tokens);
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT(answer_of(*requests[i]) == alone(model, good[i], KvType::kF16));
  }
  EXPECT_EQ(engine.stats().failed, 1u);
  EXPECT_EQ(engine.stats().kv_blocks_used, 0);
}

}  // namespace

TEST(logits_that_are_no_numbers_end_their_request_alone) {
  expect_one_failure(spoil(std::numeric_limits<float>::quiet_NaN(), 0), 0);
  expect_one_failure(spoil(std::numeric_limits<float>::infinity(), 20), 4);
  expect_one_failure(spoil(-std::numeric_limits<float>::infinity(), 0), 0);
}

TEST(an_answer_that_cannot_be_drawn_ends_alone) {
  const auto model = golden("forward/llama-ragged");
  Engine engine(model, {.record_logits_hash = true});
  Random random(2);
  RequestOptions impossible = request(random, 10, 5);
  for (int32_t token = 0; token < model->config().n_vocab; ++token) {
    impossible.params.logit_bias[token] = -std::numeric_limits<float>::infinity();
  }
  const RequestOptions fine = request(random, 10, 20);
  const auto failing = engine.submit(impossible), other = engine.submit(fine);
  EXPECT(answer_of(*failing).reason == FinishReason::kError);
  EXPECT(failing->report().finish->error->code() == ErrorCode::kInvalidRequest);
  EXPECT(answer_of(*other) == alone(model, fine, KvType::kF16));
}

TEST(a_step_that_fails_ends_those_in_it_and_nobody_else) {
  const auto model = golden("forward/llama-ragged");
  for (const bool is_memory : {false, true}) {
    int n_steps = 0;
    Engine engine(model, {.max_sequences = 2, .record_logits_hash = true},
                  [&](const StepBatch&, std::span<float>) {
                    if (++n_steps != 3) return;
                    if (is_memory) throw std::bad_alloc();
                    fail(ErrorCode::kDevice, "the device is gone");
                  });
    Random random(3);
    std::vector<RequestOptions> asked;
    std::vector<std::shared_ptr<Request>> requests;
    for (int i = 0; i < 5; ++i) {
      asked.push_back(request(random, 10, 20));
      requests.push_back(engine.submit(asked.back()));
    }
    int n_failed = 0;
    for (size_t i = 0; i < asked.size(); ++i) {
      const Answer answer = answer_of(*requests[i]);
      if (answer.reason == FinishReason::kError) {
        ++n_failed;
        const ErrorCode code = requests[i]->report().finish->error->code();
        EXPECT(code == (is_memory ? ErrorCode::kOutOfMemory : ErrorCode::kDevice));
      } else {
        EXPECT(answer == alone(model, asked[i], KvType::kF16));
      }
    }
    EXPECT(n_failed >= 1 && n_failed <= 2);
    EXPECT_EQ(engine.stats().kv_blocks_used, 0);
  }
}
