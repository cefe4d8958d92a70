// Snapshots: an answer that is interrupted anywhere and resumed elsewhere is the uninterrupted one,
// and bytes that are not a snapshot of this model are refused.
#include <algorithm>
#include <cstring>
#include <mutex>

#include "cpp/engine_world.h"
#include "cpp/harness.h"
#include "engine/snapshot.h"

using namespace realm;
using namespace realm::test;

namespace {

using Bytes = std::vector<std::byte>;

RequestOptions request(Random& random, const Model& model) {
  RequestOptions options;
  options.prompt = random_tokens(random, between(random, 1, 50), 96);
  options.params.max_tokens = 30;
  options.params.temperature = static_cast<double>(between(random, 0, 2));
  options.params.repetition_penalty = 1.2;
  options.params.frequency_penalty = 0.4;
  options.params.logit_bias = {{3, 1.5f}, {70, -2.0f}};
  if (model.vocabulary()) options.params.stop = {"never to be seen", "neither"};
  options.params.logprobs = 2;
  options.params.seed = random();
  options.params.ignore_eos = true;
  return options;
}

// A snapshot of a request after `n_steps` forwards; empty if it had ended by then.
Bytes snapshot_after(const std::shared_ptr<Model>& model, const RequestOptions& options,
                     int n_steps) {
  Bytes bytes;
  std::mutex mutex;
  std::shared_ptr<Request> submitted;
  int n_done = 0;
  Engine engine(model, {.record_logits_hash = true}, [&](const StepBatch&, std::span<float>) {
    const std::lock_guard lock(mutex);
    if (++n_done != n_steps) return;
    bytes = submitted->snapshot();
    submitted->cancel();
  });
  {
    const std::lock_guard lock(mutex);
    submitted = engine.submit(options);
  }
  answer_of(*submitted);
  return bytes;
}

// A snapshot with other fields, its digest put right: what a forger would make.
Bytes forged(const Bytes& bytes, const std::function<void(Snapshot&)>& change) {
  Snapshot snapshot = decode_snapshot(bytes);
  change(snapshot);
  return encode(snapshot);
}

void expect_error_answer(Engine& engine, const Bytes& bytes) {
  const auto resumed = engine.resume(bytes);
  EXPECT(answer_of(*resumed).reason == FinishReason::kError);
  EXPECT(resumed->report().finish->error->code() == ErrorCode::kFormat);
}

}  // namespace

TEST(a_resumed_answer_is_the_uninterrupted_one) {
  Random random(1);
  const auto expect_equal = [&](const std::shared_ptr<Model>& model, int n_answers) {
    Engine engine(model, {.record_logits_hash = true});
    for (int i = 0; i < n_answers; ++i) {
      const RequestOptions options = request(random, *model);
      const Bytes bytes = snapshot_after(model, options, static_cast<int>(between(random, 1, 28)));
      EXPECT(!bytes.empty());
      const auto resumed = engine.resume(bytes);
      EXPECT(answer_of(*resumed) == alone(model, options, KvType::kF16));
      EXPECT_EQ(resumed->seed(), *options.params.seed);
    }
  };
  expect_equal(golden("forward/gemma3-global-layer"), 8);
  expect_equal(demo(), 1);
}

TEST(log_probabilities_come_back_with_their_tokens) {
  const auto model = golden("forward/llama-ragged");
  Engine engine(model, {});
  Random random(2);
  const RequestOptions options = request(random, *model);
  const auto whole = engine.submit(options);
  const auto resumed = engine.resume(snapshot_after(model, options, 12));
  answer_of(*engine.submit(options));  // both have ended when a third has
  while (!whole->wait_end(std::chrono::seconds(1)) || !resumed->wait_end(std::chrono::seconds(1))) {
  }
  const Piece expected = whole->take(), got = resumed->take();
  EXPECT_EQ(got.logprobs.size(), 30u);
  EXPECT(got.tokens == expected.tokens);
  EXPECT(std::ranges::equal(got.logprobs, expected.logprobs, [](const auto& a, const auto& b) {
    return a.chosen == b.chosen && a.top == b.top;
  }));
}

TEST(an_answer_can_be_interrupted_again_and_again) {
  const auto model = golden("forward/llama-ragged");
  Random random(3);
  const RequestOptions options = request(random, *model);
  Bytes bytes = snapshot_after(model, options, 1);
  int n_resumed = 0;
  for (;; ++n_resumed) {
    Bytes next;
    std::mutex mutex;
    std::shared_ptr<Request> resumed;
    int n_done = 0;
    Engine engine(model, {.record_logits_hash = true}, [&](const StepBatch&, std::span<float>) {
      const std::lock_guard lock(mutex);
      if (++n_done != 7) return;
      next = resumed->snapshot();
      resumed->cancel();
    });
    {
      const std::lock_guard lock(mutex);
      resumed = engine.resume(bytes);
    }
    const Answer answer = answer_of(*resumed);
    if (answer.reason != FinishReason::kCancelled) {
      EXPECT(answer == alone(model, options, KvType::kF16));
      break;
    }
    bytes = next;
  }
  EXPECT(n_resumed >= 4);
}

TEST(a_snapshot_of_another_model_or_cache_is_refused) {
  const auto model = golden("forward/llama-ragged");
  Random random(4);
  const Bytes bytes = snapshot_after(model, request(random, *model), 5);
  Engine other(golden("forward/llama-biases"), {});
  const std::string told = EXPECT_ERROR(kInvalidRequest, { other.resume(bytes); });
  EXPECT(contains(told, "another model"));
  Engine wide(model, {.kv_type = KvType::kF32});
  EXPECT_ERROR(kInvalidRequest, { wide.resume(bytes); });
}

TEST(damaged_bytes_are_refused) {
  const auto model = golden("forward/llama-ragged");
  Random random(5);
  const Bytes bytes = snapshot_after(model, request(random, *model), 5);
  Engine engine(model, {});
  for (size_t n = 0; n < bytes.size(); n += 7) {
    EXPECT_ERROR(kFormat, { engine.resume(std::span(bytes).first(n)); });
  }
  for (int i = 0; i < 300; ++i) {
    Bytes damaged = bytes;
    const auto at = static_cast<size_t>(between(random, 0, std::ssize(bytes) - 1));
    damaged[at] ^= static_cast<std::byte>(between(random, 1, 255));
    EXPECT_ERROR(kFormat, { engine.resume(damaged); });
  }
}

TEST(forged_fields_are_refused_as_in_any_request) {
  const auto model = golden("forward/llama-ragged");
  Random random(6);
  const Bytes bytes = snapshot_after(model, request(random, *model), 5);
  Engine engine(model, {});
  const auto refused = [&](const std::function<void(Snapshot&)>& change) {
    const Bytes changed = forged(bytes, change);
    EXPECT_ERROR(kInvalidRequest, { engine.resume(changed); });
  };
  refused([](Snapshot& s) { s.options.prompt.clear(); });
  refused([](Snapshot& s) { s.options.prompt[0] = -1; });
  refused([](Snapshot& s) { s.options.params.temperature = -1; });
  refused([](Snapshot& s) { s.options.params.max_tokens = 0; });
  refused([](Snapshot& s) { s.answer.tokens[0] = 1 << 20; });
  refused([](Snapshot& s) { s.engine.kv_type = static_cast<KvType>(77); });
  expect_error_answer(engine, forged(bytes, [](Snapshot& s) { s.answer.tokens.resize(30); }));
  expect_error_answer(engine, forged(bytes, [](Snapshot& s) { s.answer.tokens.resize(300); }));
}

TEST(random_lengths_inside_a_sealed_snapshot_are_refused) {
  // The digest is right, so the reader is on its own.
  const auto model = golden("forward/llama-ragged");
  Random random(7);
  const Bytes bytes = snapshot_after(model, request(random, *model), 5);
  Engine engine(model, {});
  for (int i = 0; i < 2000; ++i) {
    Bytes changed(bytes.begin(), bytes.end() - 32);
    const auto at = static_cast<size_t>(between(random, 12, std::ssize(changed) - 8));
    const uint64_t wild = std::uint64_t{random()} << between(random, 0, 40);
    std::memcpy(changed.data() + at, &wild, static_cast<size_t>(between(random, 1, 8)));
    const Sha256Digest digest = sha256(changed);
    changed.insert(changed.end(), digest.begin(), digest.end());
    try {
      const auto resumed = engine.resume(changed);  // a changed seed or temperature is as good
      resumed->cancel();
    } catch (const Error& error) {
      EXPECT(error.code() == ErrorCode::kFormat || error.code() == ErrorCode::kInvalidRequest);
    }
  }
}

TEST(an_ended_answer_has_no_snapshot) {
  const auto model = golden("forward/llama-ragged");
  Engine engine(model, {});
  Random random(8);
  const auto submitted = engine.submit(request(random, *model));
  answer_of(*submitted);
  EXPECT_ERROR(kInvalidRequest, { submitted->snapshot(); });
}
