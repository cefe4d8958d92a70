// The C++ face, used as a stranger would: realm_cpp_test DEMO_FOLDER. The library does the work and
// has its own tests; here, that every wrapper passes on what it is given and gives back what comes.
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <thread>

#include <realm/realm.hpp>

namespace {

int expectations = 0, failures = 0;
std::string demo;
const std::vector<int32_t> kPrompt = {1020, 269, 394, 293, 440, 342, 382, 259};

#define EXPECT(condition)                                                \
  do {                                                                   \
    ++expectations;                                                      \
    if (condition) break;                                                \
    ++failures;                                                          \
    std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
  } while (0)

// What the error says that `body` throws, behind its status; empty if it throws none.
std::string thrown(const std::function<void()>& body) {
  try {
    body();
  } catch (const realm::Error& error) {
    return std::string(error.status_name()) + ": " + error.what();
  }
  return "";
}

bool has(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

realm::SamplingParams greedy(int64_t max_tokens) {
  realm::SamplingParams params;
  params.temperature = 0;
  params.max_tokens = max_tokens;
  return params;
}

void defaults_are_the_librarys() {
  const realm::SamplingParams params;
  EXPECT(params.max_tokens == 512 && params.top_k == 40 && !params.seed && !params.logprobs);
  const realm::SpeculativeConfig guesses;
  EXPECT(guesses.draft_k == 4 && guesses.adaptive && guesses.drafter == realm::Drafter::model);
  const realm::RuntimeOptions options;
  EXPECT(options.max_sequences == 32 && options.prefix_cache && !options.max_queue);
  EXPECT(options.kv_type == realm::KvType::f16 && options.device.empty());
}

void models_come_from_files_and_from_memory() {
  realm::RuntimeOptions options;
  options.n_threads = 1;
  options.max_sequences = 2;
  realm::Runtime runtime(options);
  const std::string target = slurp(demo + "/target.gguf"), draft = slurp(demo + "/draft.gguf");
  runtime.store_draft_model(draft.data(), draft.size(), "stored");
  runtime.store_model(target.data(), target.size(), "stored");
  runtime.load_model_from_memory("kept", target.data(), target.size());
  EXPECT(runtime.models().size() == 3);
  const realm::ModelInfo info = runtime.model("stored");
  EXPECT(info.id == "stored" && info.n_vocab == 1024 && info.n_embd == 256 && info.n_layers == 4);
  EXPECT(info.n_ctx == 512 && info.n_heads == 4 && info.n_kv_heads == 2 && info.head_width == 64);
  EXPECT(info.bos_token == 1020 && info.eos_token && info.has_draft && !info.is_draft);
  EXPECT(!runtime.model("kept").has_draft && runtime.model("stored_draft").is_draft);
  EXPECT(runtime.decode("kept", {269, 394}).size() > 2);
  runtime.unload_model("stored");
  EXPECT(runtime.models().size() == 1);
  EXPECT(has(thrown([&] { runtime.load_model("x", "nowhere"); }), "input or output: "));
  EXPECT(has(thrown([&] { runtime.store_model("GGUF", 4, "x"); }), "format: "));
}

void requests_pass_on_what_they_are_asked_for() {
  realm::Runtime runtime;
  realm::ModelOptions model_options;
  model_options.draft_path = demo + "/draft.gguf";
  model_options.draft_id = "small";
  model_options.speculative.emplace().drafter = realm::Drafter::ngram;
  runtime.load_model("demo", demo + "/target.gguf", model_options);
  EXPECT(runtime.model("small").is_draft);
  realm::TenantOptions terms;
  terms.weight = 2;
  terms.quota.emplace().max_tokens = 64;
  terms.sampling = greedy(3);
  const realm::Tenant tenant = runtime.tenant("main", "demo", terms);

  EXPECT(tenant.generate(kPrompt).tokens.size() == 3);
  EXPECT(has(thrown([&] { tenant.submit(kPrompt, greedy(65)); }), "quota exceeded: "));
  EXPECT(has(thrown([&] { tenant.submit({}); }), "invalid request: "));

  realm::SamplingParams params = greedy(8);
  params.stop = {"ris"};
  params.logprobs = 2;
  realm::Request request = tenant.submit(kPrompt, params);
  const realm::Answer answer = request.answer();
  EXPECT(answer.bytes == " Pa" && answer.report.finish == realm::Finish::stop);
  EXPECT(answer.report.stop_index == 0 && !answer.report.stop_token);
  EXPECT(answer.report.n_prompt == 8 && answer.report.first_token.count() > 0);
  const auto logprobs = request.take_logprobs();
  EXPECT(logprobs.size() == answer.tokens.size() && logprobs[0].size() == 3);
  EXPECT(logprobs[0][0].token == answer.tokens[0] && logprobs[0][0].logprob <= 0);

  params = greedy(8);
  params.stop_token_ids = {answer.tokens[0]};
  EXPECT(tenant.generate(kPrompt, params).report.stop_token == answer.tokens[0]);
  params.stop_token_ids.clear();
  params.logit_bias = {{answer.tokens[0], -INFINITY}};
  EXPECT(tenant.generate(kPrompt, params).tokens[0] != answer.tokens[0]);

  realm::RequestOptions options;
  options.plain = true;
  EXPECT(tenant.submit(kPrompt, greedy(4), options).speculation_status() == "off");
  realm::SpeculativeConfig guesses;
  guesses.adaptive = false;
  EXPECT(tenant.generate(kPrompt, greedy(16), guesses).report.accepted > 0);
}

void an_answer_can_be_cancelled_from_another_thread() {
  realm::Runtime runtime;
  runtime.load_model("demo", demo + "/target.gguf");
  const realm::Tenant tenant = runtime.tenant("main", "demo");
  realm::SamplingParams params = greedy(500);
  params.ignore_eos = true;
  realm::Request request = tenant.submit(kPrompt, params);
  std::thread other([&] { request.cancel(); });
  const realm::Answer answer = request.answer();
  other.join();
  EXPECT(answer.report.finish == realm::Finish::cancelled && answer.tokens.size() < 500);
  EXPECT(!request.wait_for(std::chrono::milliseconds(0)) || !request.next());
  realm::RequestOptions options;
  options.deadline = std::chrono::milliseconds(1);
  EXPECT(tenant.generate(kPrompt, params, options).report.finish == realm::Finish::deadline);
  EXPECT(tenant.stats().total_requests == 2 && runtime.stats("demo").total_requests == 2);
  EXPECT(has(runtime.metrics(), "tenant=\"main\""));
  runtime.release_tenant("main");
  EXPECT(has(thrown([&] { tenant.submit(kPrompt); }), "released"));
}

void adapters_are_set_for_tenants_models_and_requests() {
  realm::Runtime runtime;
  const std::string weights = slurp(demo + "/adapter/adapter_model.safetensors");
  const std::string config = slurp(demo + "/adapter/adapter_config.json");
  runtime.load_adapter_from_memory("style", weights.data(), weights.size(), config, "demo");
  EXPECT(!runtime.adapters().at(0).is_fitted);
  runtime.load_model("demo", demo + "/target.gguf");
  EXPECT(runtime.adapters().at(0).is_fitted && runtime.adapters().at(0).rank == 8);
  const realm::Tenant tenant = runtime.tenant("main", "demo");
  const auto says_arr = [&](const realm::RequestOptions& options = {}) {
    return has(tenant.generate(kPrompt, greedy(12), options).bytes, "arr!");
  };
  EXPECT(!says_arr());
  runtime.set_lora_adapter("demo", "style");
  EXPECT(says_arr());
  runtime.set_lora_adapter("demo", "");
  runtime.set_tenant_lora_adapter("main", "style");
  EXPECT(says_arr());
  realm::RequestOptions base;
  base.adapters.emplace();
  EXPECT(!says_arr(base));
  runtime.set_tenant_lora_adapter("main", "");
  base.adapters->emplace_back("style", 1.0);
  EXPECT(says_arr(base));
  runtime.unload_adapter("style");
  EXPECT(runtime.adapters().empty());
}

void layers_compose_and_may_outlive_their_runtime() {
  auto runtime = std::make_unique<realm::Runtime>();
  runtime->load_model("demo", demo + "/target.gguf");
  const realm::Tenant tenant = runtime->tenant("main", "demo");
  realm::SessionOptions options;
  options.kv_type = realm::KvType::q8_0;
  options.max_tokens = 16;
  const std::vector<float> whole = tenant.prompt_logits(kPrompt, 8, options);
  realm::Session session = tenant.session(options);
  runtime.reset();
  std::vector<float> rows = session.embed_tokens(kPrompt);
  for (int64_t layer = 0; layer < tenant.model().n_layers; ++layer) {
    session.forward_layer(layer, rows);
  }
  EXPECT(session.compute_logits(rows) == whole);
  EXPECT(session.position() == 8);
  session.truncate(4);
  EXPECT(session.position() == 4);
  const realm::Session moved = std::move(session);
  EXPECT(moved.position() == 4);
  EXPECT(has(thrown([&] { session.position(); }), "realm_session is NULL"));
}

void a_second_thread_in_a_session_is_refused() {
  realm::Runtime runtime;
  runtime.load_model("demo", demo + "/target.gguf");
  const realm::Tenant tenant = runtime.tenant("main", "demo");
  realm::Session session = tenant.session();
  std::atomic<bool> enough{false};
  std::thread other([&] {
    const std::vector<float> rows(64 * 256, 0.5f);
    while (!enough) {
      // Either may be the one that is refused.
      thrown([&] { session.compute_logits(rows); });
    }
  });
  std::string refusal;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (refusal.empty() && std::chrono::steady_clock::now() < give_up) {
    refusal = thrown([&] { session.position(); });
  }
  enough = true;
  other.join();
  EXPECT(has(refusal, "in use by another thread"));
  EXPECT(session.position() == 0);
}

void files_show_their_tensors() {
  const realm::Gguf gguf = realm::Gguf::open(demo + "/target.gguf");
  EXPECT(gguf.metadata_string("general.architecture") == "llama");
  EXPECT(has(thrown([&] { gguf.metadata_string("no.key"); }), "'no.key'"));
  const realm::TensorInfo tensor = gguf.tensor(0);
  EXPECT(!tensor.name.empty() && !tensor.shape.empty() && tensor.bytes > 0);
  const std::string bytes = slurp(demo + "/target.gguf");
  EXPECT(realm::Gguf::from_memory(bytes.data(), bytes.size()).n_tensors() == gguf.n_tensors());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  demo = argv[1];
  defaults_are_the_librarys();
  models_come_from_files_and_from_memory();
  requests_pass_on_what_they_are_asked_for();
  an_answer_can_be_cancelled_from_another_thread();
  adapters_are_set_for_tenants_models_and_requests();
  layers_compose_and_may_outlive_their_runtime();
  a_second_thread_in_a_session_is_refused();
  files_show_their_tensors();
  std::printf("%d expectations, %d failures\n", expectations, failures);
  return failures != 0;
}
