// The engine over the CUDA backend: adapters, speculation and company
// together, and models with adapters merged into them while they run. Over F32 weights and an f32
// cache every row is computed by itself, so answers have the bits that they have alone.
#include <array>

#include "cpp/engine_world.h"
#include "cpp/harness.h"
#include "cpp/speculative_world.h"
#include "lora/adapter_source.h"

using namespace realm;
using namespace realm::test;

namespace {

constexpr char kBase[] = REALM_GOLDEN_DIR "/arch/qwen3/model-f32.gguf";

lora::AdapterSource adapter(const std::string& name) {
  return lora::open_adapter(concat(REALM_GOLDEN_DIR "/arch/qwen3/adapters/", name));
}

std::shared_ptr<Model> load_on(const char* device, const AdapterSources& merged = {}) {
  ModelOptions options{.device = device, .n_threads = 1, .activations = ActivationKind::kF32};
  options.merge = merged;
  return Model::load(gguf::GgufFile::open(kBase), options);
}

std::vector<float> logits_of(const std::shared_ptr<Model>& model, const Tokens& tokens,
                             std::shared_ptr<const AdapterSet> adapters = {}) {
  const auto n = std::ssize(tokens);
  std::vector<float> values(static_cast<size_t>(n * model->config().n_vocab));
  SoloSequence(model, {.kv_type = KvType::kF32, .max_tokens = n, .adapters = adapters})
      .append(tokens, n, values.data());
  return values;
}

double nmse(const std::vector<float>& values, const std::vector<float>& reference) {
  double error = 0, power = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(double{values[i]} - reference[i], 2);
    power += std::pow(double{reference[i]}, 2);
  }
  return error / power <= 1e9 ? error / power : INFINITY;
}

const std::array<AdapterNames, 4> kSets = {
    {{}, {{"rslora-qv", 0.5f}}, {{"all-linear", 1.0f}, {"rslora-qv", -0.5f}}, {{"dora", 1.0f}}}};

void load_adapters(Model& model) {
  for (const char* name : {"all-linear", "rslora-qv", "dora"})
    model.adapters().load(name, adapter(name), true);
}

}  // namespace

TEST(answers_with_adapters_that_are_guessed_in_company_are_the_plain_ones) {
  const auto model = load_on("cuda"), cpu = load_on("cpu");
  load_adapters(*model);
  load_adapters(*cpu);
  const int64_t n_vocab = model->config().n_vocab;
  Random random(3);
  std::vector<RequestOptions> options;
  std::vector<Answer> expected;
  for (size_t i = 0; i < 6; ++i) {
    RequestOptions one;
    one.prompt = random_tokens(random, between(random, 2, 12), n_vocab);
    one.params.max_tokens = between(random, 5, 10);
    one.params.temperature = i % 3 == 2 ? 0.8 : 0.0;
    one.params.seed = random();
    one.params.ignore_eos = true;
    one.adapter_set = model->adapters().set_of(kSets[i % kSets.size()]);
    expected.push_back(alone(model, one, KvType::kF32));
    RequestOptions there = one;
    there.adapter_set = cpu->adapters().set_of(kSets[i % kSets.size()]);
    EXPECT(alone(cpu, there, KvType::kF32).tokens == expected.back().tokens);
    if (i % 2 == 0) {
      one.speculative = SpeculativeConfig{};
      one.speculative->drafter = DrafterKind::kCustom;
      one.speculative->draft_k = 3;
      one.speculative->adaptive = false;
      one.drafter = std::make_shared<ScriptedDrafter>(
          guess_along(expected[i].tokens, std::ssize(one.prompt), 0.7, n_vocab, 5));
    }
    options.push_back(one);
  }
  int64_t n_wide = 0;
  Engine engine(model,
                {.max_sequences = 8,
                 .max_step_tokens = 24,
                 .kv_type = KvType::kF32,
                 .record_logits_hash = true,
                 .poison_blocks = true},
                [&](const StepBatch& step, std::span<float>) { n_wide += step.spans.size() > 2; });
  std::vector<std::shared_ptr<Request>> requests;
  for (const RequestOptions& one : options) requests.push_back(engine.submit(one));
  int64_t accepted = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT(answer_of(*requests[i]) == expected[i]);
    accepted += requests[i]->report().speculation.accepted;
  }
  engine.close();
  EXPECT(accepted > 3);
  EXPECT(n_wide > 2);
}

TEST(answers_stay_those_of_each_request_alone_while_its_adapter_is_replaced) {
  const auto model = load_on("cuda");
  Random random(9);
  Engine engine(model, {.max_sequences = 4, .kv_type = KvType::kF32, .record_logits_hash = true},
                {});
  std::vector<std::shared_ptr<Request>> requests;
  std::vector<Answer> expected;
  for (int round = 0; round < 5; ++round) {
    for (const char* name : {"one", "two"}) {
      model->adapters().load(name, adapter("all-linear"), true);  // over that of earlier requests
      RequestOptions one;
      one.prompt = random_tokens(random, between(random, 2, 6), model->config().n_vocab);
      one.params.max_tokens = 16;
      one.params.temperature = 0;
      one.params.seed = random();
      one.params.ignore_eos = true;
      one.adapter_set = model->adapters().set_of({{name, between(random, -9, 9) / 10.0f}});
      requests.push_back(engine.submit(one));
      expected.push_back(alone(model, one, KvType::kF32));
    }
    if (round % 2 == 1) requests.back()->wait_end(std::chrono::seconds(60));
  }
  for (size_t i = 0; i < requests.size(); ++i) EXPECT(answer_of(*requests[i]) == expected[i]);
  engine.close();
  for (const auto& [path, n] : model->backend().path_counts()) {
    if (path == "steps replayed") EXPECT(n > 60);
    if (path == "captures failed") EXPECT_EQ(n, 0u);
  }
}

// Layers of one kind alone have pages then, and graphs are made of such steps too.
TEST(a_model_whose_layers_all_have_a_window_answers_as_on_the_cpu) {
  const auto file = gguf::GgufFile::open(REALM_GOLDEN_DIR "/forward/mistral-window.gguf");
  const auto on = [&](const char* device) {
    return Model::load(file,
                       {.device = device, .n_threads = 1, .activations = ActivationKind::kF32});
  };
  RequestOptions one;
  one.prompt = {5, 9, 11, 3};
  one.params.temperature = 0;
  one.params.max_tokens = 8;
  one.params.seed = 1;
  one.params.ignore_eos = true;
  Engine engine(on("cuda"), {.max_sequences = 2, .kv_type = KvType::kF32}, {});
  EXPECT(answer_of(*engine.submit(one)).tokens == alone(on("cpu"), one, KvType::kF32).tokens);
  engine.close();
}

TEST(an_overlay_is_the_merged_model_and_leaves_its_base_alone) {
  const auto base = load_on("cuda");
  load_adapters(*base);
  Random random(4);
  const Tokens tokens = random_tokens(random, 9, base->config().n_vocab);
  const auto plain = logits_of(base, tokens);
  const AdapterSources merged{{adapter("all-linear"), 0.7f}};
  const auto overlay = base->overlay(merged, {});
  const auto found = logits_of(overlay, tokens);
  EXPECT(found == logits_of(load_on("cuda", merged), tokens));
  EXPECT(nmse(found, logits_of(load_on("cpu", merged), tokens)) < 1e-9);
  const auto set = base->adapters().set_of({{"all-linear", 0.7f}});
  EXPECT(nmse(logits_of(base, tokens, set), found) < 1e-9);  // on the fly
  EXPECT(nmse(plain, found) > 1e-6);
  overlay->adapters().load("more", adapter("rslora-qv"), true);
  EXPECT(nmse(logits_of(overlay, tokens, overlay->adapters().set_of({{"more", 1.0f}})), found) >
         1e-7);
  EXPECT(logits_of(base, tokens) == plain);
}
