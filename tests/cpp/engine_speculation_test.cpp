// Speculation in the engine: answers are those without it, whatever is guessed, and what guesses
// hold is given back. What stands is judged in speculative_accept_test.cpp.
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "cpp/engine_schedules.h"
#include "cpp/harness.h"
#include "cpp/speculative_world.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "engine/speculative/model_drafter.h"
#include "lora/adapter_source.h"

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

SpeculativeConfig fixed(int64_t k, DrafterKind drafter = DrafterKind::kModel) {
  SpeculativeConfig config;
  config.draft_k = k;
  config.max_draft_tokens = std::max<int64_t>(k, 8);
  config.drafter = drafter;
  config.adaptive = false;
  return config;
}

Tokens demo_prompt() {
  Random random(7);
  return random_tokens(random, 24, 200);
}

SamplingParams random_filters(Random& random) {
  SamplingParams params;
  params.temperature = std::array{0.0, 0.5, 1.0, 2.0}[static_cast<size_t>(between(random, 0, 3))];
  params.top_k = between(random, 0, 2) * 20;
  params.top_p = between(random, 0, 1) ? 0.9 : 1.0;
  params.min_p = between(random, 0, 1) ? 0.05 : 0.0;
  params.ignore_eos = between(random, 0, 1);
  if (between(random, 0, 2) == 0) {
    params.repetition_penalty = 1.3;
    params.presence_penalty = 0.4;
    params.frequency_penalty = 0.2;
  }
  if (between(random, 0, 2) == 0) params.logit_bias = {{5, 2.0f}, {6, -3.0f}};
  if (between(random, 0, 2) == 0) params.logprobs = 3;
  if (between(random, 0, 2) == 0) params.stop = {"the", "a"};
  params.max_tokens = between(random, 1, 50);
  params.seed = random();
  return params;
}

// Any drafter, any length, adaptive or not; `n_vocab` and `answer` are for guesses that are
// scripted.
void speculate(Random& random, RequestOptions& options, const Tokens& answer, int64_t n_vocab) {
  SpeculativeConfig config;
  config.max_draft_tokens = between(random, 1, 16);
  config.draft_k = between(random, 1, config.max_draft_tokens);
  config.adaptive = between(random, 0, 1);
  config.drafter = static_cast<DrafterKind>(between(random, 0, 2));
  if (config.drafter == DrafterKind::kCustom) {
    const double right = static_cast<double>(between(random, 0, 10)) / 10;
    options.drafter = std::make_shared<ScriptedDrafter>(
        guess_along(answer, std::ssize(options.prompt), right, n_vocab, random()));
  }
  options.speculative = config;
}

}  // namespace

TEST(coupled_answers_are_the_plain_ones_with_every_drafter_and_filter) {
  const auto model = demo();
  const int64_t n_vocab = model->config().n_vocab;
  Random random(1);
  Engine engine(model, {.max_sequences = 8, .max_step_tokens = 96, .record_logits_hash = true}, {},
                {demo_draft(), ""});
  std::vector<Answer> expected;
  std::vector<std::shared_ptr<Request>> requests;
  for (int i = 0; i < 56; ++i) {
    RequestOptions options;
    options.prompt = random_tokens(random, between(random, 1, 60), n_vocab);
    options.params = random_filters(random);
    expected.push_back(alone(model, options, KvType::kF16));
    if (i % 8 != 0) speculate(random, options, expected.back().tokens, n_vocab);
    requests.push_back(engine.submit(std::move(options)));
  }
  int64_t accepted = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT(answer_of(*requests[i]) == expected[i]);
    const SpeculationReport report = requests[i]->report().speculation;
    EXPECT(i % 8 != 0 ? report.status.starts_with("on") : report.status == "off");
    accepted += report.accepted;
  }
  const EngineStats stats = engine.stats();
  EXPECT(accepted > 100);
  EXPECT_EQ(static_cast<int64_t>(stats.accepted_tokens), accepted);
  EXPECT(stats.draft_tokens > stats.accepted_tokens);
  EXPECT_EQ(stats.kv_blocks_used, 0);
  EXPECT_EQ(stats.draft_blocks_used, 0);
  EXPECT(stats.draft_blocks_total > 0);
}

// With preemptions, cancellations, shared beginnings and starving caches of target and draft.
TEST(answers_in_random_schedules_are_the_plain_ones) {
  Outcome all;
  for (const char* name : {"forward/llama-ragged", "forward/gemma3-global-layer",
                           "forward/mistral-window", "forward/mixtral-8-experts"}) {
    const std::string path = concat(REALM_GOLDEN_DIR "/", name, ".gguf");
    Setting setting{.model = load(path), .max_requests = 12};
    setting.draft = {noisy_copy(path, 0.05f, 1), ""};
    setting.speculate = [&](Random& random, RequestOptions& options, const Tokens& answer) {
      speculate(random, options, answer, setting.model->config().n_vocab);
    };
    all += run_schedules(name, setting, 5000, scaled(12));
  }
  EXPECT(all.n_answers > 50);
  EXPECT(all.n_preempted > 5);
  EXPECT(all.n_accepted > 300);
  EXPECT(all.n_drafted > all.n_accepted);
}

// The same with adapters, none, one or two composed, in one step.
TEST(answers_in_random_schedules_with_adapters_are_the_plain_ones) {
  const std::string path = REALM_GOLDEN_DIR "/arch/qwen3/model-f32.gguf";
  Setting setting{.model = load(path), .max_requests = 12};
  setting.draft = {noisy_copy(path, 0.05f, 1), ""};
  for (const char* name : {"all-linear", "rslora-qv"}) {
    const std::string adapter = concat(REALM_GOLDEN_DIR "/arch/qwen3/adapters/", name);
    setting.model->adapters().load(name, lora::open_adapter(adapter), true);
  }
  const std::array<AdapterNames, 3> sets = {
      {{}, {{"rslora-qv", 0.5f}}, {{"all-linear", 1.0f}, {"rslora-qv", -0.5f}}}};
  setting.speculate = [&](Random& random, RequestOptions& options, const Tokens& answer) {
    const AdapterNames& names = sets[static_cast<size_t>(between(random, 0, 2))];
    options.adapter_set = setting.model->adapters().set_of(names);
    speculate(random, options, answer, setting.model->config().n_vocab);
  };
  const Outcome all = run_schedules("qwen3 with adapters", setting, 7000, scaled(12));
  EXPECT(all.n_answers > 20);
  EXPECT(all.n_accepted > 50);
}

TEST(wrong_guesses_cost_no_forward_and_right_ones_save_them) {
  const auto model = demo();
  const RequestOptions plain = request(demo_prompt(), 41);
  const Answer expected = alone(model, plain, KvType::kF16);
  for (const double right : {0.0, 1.0}) {
    int64_t n_forwards = 0;
    Engine engine(model, {}, [&](const StepBatch&, std::span<float>) { ++n_forwards; });
    RequestOptions options = plain;
    options.speculative = fixed(4, DrafterKind::kCustom);
    const auto drafter = std::make_shared<ScriptedDrafter>(
        guess_along(expected.tokens, std::ssize(plain.prompt), right, model->config().n_vocab, 1));
    options.drafter = drafter;
    const auto submitted = engine.submit(options);
    EXPECT(answer_of(*submitted).tokens == expected.tokens);
    engine.close();
    const SpeculationReport report = submitted->report().speculation;
    // The prompt's forward gives one token, the last of the answer has nothing after it to guess.
    if (right == 0) {
      EXPECT_EQ(n_forwards, 41);
      EXPECT_EQ(report.verifications, 39);
      EXPECT_EQ(report.accepted, 0);
      EXPECT_EQ(report.tokens, 39);
    } else {
      EXPECT_EQ(n_forwards, 1 + 8);
      EXPECT_EQ(report.verifications, 8);
      EXPECT_EQ(report.accepted, 32);
      EXPECT(near(report.tokens_per_verification(), 5, 1e-12));
      EXPECT(report.accepted_at == (std::vector<int64_t>(4, 8)));
    }
    EXPECT(report.judged_at.size() == (right == 0 ? 1u : 4u));
    EXPECT(report.verify_seconds > 0);
    EXPECT_EQ(drafter->n_proposals, report.verifications);
    EXPECT(drafter->settled ==
           std::vector<size_t>(static_cast<size_t>(report.verifications), right == 0 ? 0 : 4));
    EXPECT_EQ(drafter->forgotten.size(), size_t{1});
  }
}

TEST(a_draft_model_forgets_refused_guesses) {
  const auto draft = demo_draft();
  const ModelDrafterOptions options{.pages = {64, 64},
                                    .max_requests = 4,
                                    .max_rows = 64,
                                    .target_vocab = draft->config().n_vocab};
  const SpeculativeConfig config = fixed(8);
  SamplingParams params;
  params.temperature = 1;
  const TokenHistory history;
  const Namespace space{};
  const auto guesses = [&](ModelDrafter& drafter, const Tokens& tokens) {
    const DraftRequest request{3, tokens, 8, config, params, history, 11, 400, space};
    Draft guess;
    for (int i = 0; i < 20 && guess.tokens.empty(); ++i) {
      guess = {};
      drafter.propose({&request, 1}, {&guess, 1});
      EXPECT(guess.failure.empty());
    }
    return guess.tokens;
  };
  ModelDrafter drafter(draft, options);
  Random random(5);
  Tokens tokens = random_tokens(random, 70, draft->config().n_vocab);
  for (int i = 0; i < 60; ++i) {
    const Tokens guessed = guesses(drafter, tokens);
    EXPECT_EQ(guessed.size(), size_t{8});
    ModelDrafter fresh(draft, options);
    EXPECT(guessed == guesses(fresh, tokens));
    const auto n_accepted = static_cast<size_t>(between(random, 0, 8));
    if (i % 5 != 4) drafter.settle(3, n_accepted);  // else the step came to nothing
    if (i % 5 == 4) continue;
    EXPECT(drafter.n_blocks_used() <= static_cast<int64_t>((tokens.size() + n_accepted + 15) / 16));
    tokens.insert(tokens.end(), guessed.begin(),
                  guessed.begin() + static_cast<ptrdiff_t>(n_accepted));
    tokens.push_back(static_cast<int32_t>(between(random, 0, draft->config().n_vocab - 1)));
  }
  drafter.forget(3);
  EXPECT_EQ(drafter.n_blocks_used(), 0);
}

TEST(a_full_draft_cache_leaves_requests_plain_and_says_so) {
  const auto model = demo();
  const auto draft = demo_draft();
  const auto page = KvStorage::page_bytes(draft->backend(), draft->config(), KvType::kF16);
  EngineOptions options;
  options.draft_kv_bytes = 3 * (page.global + page.window);
  Engine engine(model, options, {}, {draft, ""});
  EXPECT_EQ(engine.stats().draft_blocks_total, 3);
  RequestOptions large = request(demo_prompt(), 60), small = request(Tokens{1, 2, 3}, 20);
  large.prompt.resize(60, 9);
  const Answer expected_large = alone(model, large, KvType::kF16);
  const Answer expected_small = alone(model, small, KvType::kF16);
  large.speculative = small.speculative = fixed(4);
  const auto first = engine.submit(large);
  EXPECT(answer_of(*first).tokens == expected_large.tokens);
  EXPECT_EQ(first->report().speculation.status, "on: the draft model's cache is full");
  EXPECT_EQ(first->report().speculation.drafted, 0);
  const auto second = engine.submit(small);
  EXPECT(answer_of(*second).tokens == expected_small.tokens);
  EXPECT(second->report().speculation.drafted > 0);
  EXPECT_EQ(engine.stats().draft_blocks_used, 0);
}

TEST(a_failing_drafter_leaves_its_requests_plain_and_says_why) {
  const auto model = demo();
  const RequestOptions plain = request(demo_prompt(), 30);
  const Answer expected = alone(model, plain, KvType::kF16);
  const auto status_with = [&](ScriptedDrafter::Script script) {
    Engine engine(model, {});
    RequestOptions options = plain;
    options.speculative = fixed(4, DrafterKind::kCustom);
    options.drafter = std::make_shared<ScriptedDrafter>(std::move(script));
    const auto submitted = engine.submit(options), beside = engine.submit(plain);
    EXPECT(answer_of(*submitted).tokens == expected.tokens);
    EXPECT(answer_of(*beside).tokens == expected.tokens);
    return submitted->report().speculation.status;
  };
  EXPECT_EQ(status_with([](const DraftRequest&, Draft&) { throw std::runtime_error("tired"); }),
            "failed: tired");
  EXPECT_EQ(status_with([](const DraftRequest&, Draft& draft) { draft.failure = "no more"; }),
            "failed: no more");
  EXPECT_EQ(status_with([](const DraftRequest&, Draft& draft) { draft.tokens = {1, -4}; }),
            concat("failed: the drafter guessed token -4, which is not in the vocabulary of ",
                   model->config().n_vocab));
  // It may say too much, or nothing.
  EXPECT_EQ(status_with([](const DraftRequest&, Draft& draft) { draft.tokens.assign(99, 3); }),
            "on");
  EXPECT(contains(status_with([](const DraftRequest&, Draft& draft) { draft.delay = "later"; }),
                  "on: later"));
}

TEST(a_draft_model_that_computes_nan_or_could_not_be_loaded_leaves_requests_plain) {
  const auto model = demo();
  RequestOptions options = request(demo_prompt(), 30);
  const Answer expected = alone(model, options, KvType::kF16);
  options.speculative = fixed(4);
  const auto status_with = [&](DraftModel draft) {
    Engine engine(model, {}, {}, std::move(draft));
    const auto submitted = engine.submit(options);
    EXPECT(answer_of(*submitted).tokens == expected.tokens);
    return submitted->report().speculation.status;
  };
  const auto broken = noisy_copy(REALM_GOLDEN_DIR "/../../python/realm_ext/demo/draft.gguf",
                                 std::numeric_limits<float>::infinity(), 1);
  EXPECT(status_with({broken, ""}).starts_with("failed: the draft model cannot guess: "));
  EXPECT_EQ(status_with({nullptr, "draft.gguf: no such file"}), "failed: draft.gguf: no such file");
  EngineOptions tiny;
  tiny.draft_kv_bytes = 1;
  Engine engine(model, tiny, {}, {demo_draft(), ""});
  const auto submitted = engine.submit(options);
  EXPECT(answer_of(*submitted).tokens == expected.tokens);
  EXPECT(contains(submitted->report().speculation.status, "failed: the draft model's cache"));
}

TEST(requests_for_drafters_that_do_not_exist_are_refused) {
  const auto model = demo();
  Engine engine(model, {});
  RequestOptions options = request({1, 2, 3}, 4);
  options.speculative = fixed(4);
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { engine.submit(options); }), "draft model"));
  options.speculative = fixed(4, DrafterKind::kCustom);
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { engine.submit(options); }), "custom"));
  options.speculative = fixed(4, DrafterKind::kNgram);
  options.drafter = std::make_shared<ScriptedDrafter>([](const DraftRequest&, Draft&) {});
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { engine.submit(options); }), "custom"));
  options.drafter = nullptr;
  options.speculative->max_draft_tokens = 99;
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { engine.submit(options); }), "max_draft_tokens"));
}

TEST(models_of_different_vocabularies_make_no_pair) {
  const auto text = EXPECT_ERROR(kInvalidRequest,
                                 { Engine(demo(), {}, {}, {golden("arch/llama/model-f32"), ""}); });
  EXPECT(contains(text, "vocabulary"));
}

TEST(every_architecture_drafts_for_itself) {
  int64_t accepted = 0, drafted = 0;
  for (const char* name :
       {"gemma2", "gemma3", "granite", "llama", "llama-yarn", "llama3-rope", "mixtral", "olmo2",
        "phi3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "smollm3"}) {
    const std::string path = concat(REALM_GOLDEN_DIR "/arch/", name, "/model-f32.gguf");
    const auto model = load(path);
    const auto draft = noisy_copy(path, 0.05f, 3);
    Engine engine(model, {.record_logits_hash = true}, {}, {draft, ""});
    Random random(4);
    RequestOptions options =
        request(random_tokens(random, 30, model->config().n_vocab), 60, random());
    options.params.temperature = 0;
    const Answer expected = alone(model, options, KvType::kF16);
    options.speculative = fixed(6);
    const auto submitted = engine.submit(options);
    if (!(answer_of(*submitted) == expected)) report_failure(__FILE__, __LINE__, name);
    accepted += submitted->report().speculation.accepted;
    drafted += submitted->report().speculation.drafted;
  }
  EXPECT(accepted > drafted / 4);
  EXPECT(accepted < drafted);
}

TEST(target_and_draft_carry_adapters_of_their_own) {
  const std::string path = REALM_GOLDEN_DIR "/arch/qwen3/model-f32.gguf";
  const auto model = load(path), draft = noisy_copy(path, 0.02f, 3);
  for (const auto& one : {model, draft}) {
    one->adapters().load(
        "strong", lora::open_adapter(REALM_GOLDEN_DIR "/arch/qwen3/adapters/all-linear"), true);
  }
  Engine engine(model, {.record_logits_hash = true}, {}, {draft, ""});
  Random random(4);
  RequestOptions options = request(random_tokens(random, 30, model->config().n_vocab), 60);
  options.params.temperature = 0;
  options.adapter_set = model->adapters().set_of({{"strong", 1.0f}});
  const Answer expected = alone(model, options, KvType::kF16);
  const auto report_with = [&](const std::string& adapter) {
    options.speculative = fixed(4);
    options.speculative->draft_adapter = adapter;
    const auto submitted = engine.submit(options);
    EXPECT(answer_of(*submitted) == expected);
    return submitted->report().speculation;
  };
  const SpeculationReport without = report_with(""), with = report_with("strong");
  EXPECT(with.accepted > with.drafted / 2);
  EXPECT(with.accepted > without.accepted);
  EXPECT(contains(report_with("absent").status, "failed: the draft model's adapter: "));
}

TEST(a_session_that_guesses_has_the_plain_answer_over_several_turns) {
  const auto model = demo();
  const int64_t n_vocab = model->config().n_vocab;
  Random random(9);
  int64_t accepted = 0;
  for (int i = 0; i < 24; ++i) {
    SessionOptions plain;
    plain.params = random_filters(random);
    plain.max_context = 256;
    SessionOptions guessing = plain;
    RequestOptions options;
    const Tokens prompt = random_tokens(random, between(random, 1, 40), n_vocab);
    options.prompt = prompt;
    options.params = plain.params;
    speculate(random, options, alone(model, options, KvType::kF16).tokens, n_vocab);
    guessing.speculative = options.speculative;
    guessing.drafter = options.drafter;
    guessing.draft = {demo_draft(), ""};
    Session expected(model, plain), session(model, guessing);
    for (int turn = 0; turn < 3; ++turn) {
      expected.prefill(prompt);
      session.prefill(prompt);
      for (int n = between(random, 0, 1) ? 1000 : 7; n > 0; --n) {
        const auto token = expected.next_token();
        EXPECT(session.next_token() == token);
        EXPECT(session.logprobs() == expected.logprobs());
        EXPECT(session.take_text() == expected.take_text());
        if (!token) break;
      }
      EXPECT(std::ranges::equal(session.tokens(), expected.tokens()));
      EXPECT(session.state() == expected.state());
    }
    EXPECT(session.speculation().status.starts_with("on"));
    accepted += session.speculation().accepted;
    session.reset();
    EXPECT_EQ(session.speculation().status, "off");
  }
  EXPECT(accepted > 10);
}
