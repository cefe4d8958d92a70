// Runtimes: many threads that load, serve, choose, release and close at once; what refusals say;
// and the text form of the figures. What users see is in tests/python/test_runtime.py.
#include "runtime/runtime.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <thread>

#include "cpp/engine_world.h"

using namespace realm;
using namespace realm::test;

namespace {

using std::chrono::seconds;

const std::string kSmall = REALM_GOLDEN_DIR "/arch/llama/model-f32.gguf";
const std::string kSmallAdapter = REALM_GOLDEN_DIR "/arch/llama/adapters/all-linear";
const std::string kDemo = REALM_GOLDEN_DIR "/../../python/realm_ext/demo/";

RuntimeOptions small_options() {
  RuntimeOptions options;
  options.engine.max_sequences = 4;
  options.engine.max_step_tokens = 32;
  options.engine.kv_bytes = uint64_t{1} << 20;
  options.n_threads = 1;
  return options;
}

TenantRequest request(Tokens prompt, int64_t max_tokens = 8) {
  TenantRequest request;
  request.prompt = std::move(prompt);
  request.params.emplace();
  request.params->max_tokens = max_tokens;
  request.params->seed = 7;
  request.params->ignore_eos = true;
  return request;
}

std::vector<std::byte> contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
  std::vector<std::byte> out(bytes.size());
  std::ranges::transform(bytes, out.begin(), [](char c) { return static_cast<std::byte>(c); });
  return out;
}

}  // namespace

TEST(a_tenant_gets_the_answer_that_an_engine_gives) {
  Runtime runtime(small_options());
  runtime.load_model({.model_id = "small", .model_path = kSmall});
  const auto tenant = runtime.get_or_create("acme", "small");
  TenantRequest asked = request({1, 2, 3, 4}, 20);
  const Answer got = answer_of(*tenant->submit(asked));
  RequestOptions options;
  options.prompt = asked.prompt;
  options.params = *asked.params;
  const Answer expected = alone(runtime.model("small"), options, KvType::kF16);
  EXPECT(got.tokens == expected.tokens);
}

TEST(bytes_without_an_owner_are_copied) {
  Runtime runtime(small_options());
  {
    std::vector<std::byte> bytes = contents(kSmall);
    runtime.store_model("small", {bytes});
    std::ranges::fill(bytes, std::byte{0xff});
  }
  const auto tenant = runtime.get_or_create("acme", "small");
  EXPECT_EQ(answer_of(*tenant->submit(request({1, 2, 3}))).tokens.size(), 8u);
}

TEST(loading_can_be_cancelled_and_then_nothing_is_there) {
  Runtime runtime(small_options());
  const ModelSpec spec{.model_id = "demo",
                       .model_path = kDemo + "target.gguf",
                       .draft_model_path = kDemo + "draft.gguf"};
  uint64_t last = 0, total = 0;
  EXPECT_ERROR(kCancelled,
               { runtime.load_model(spec, [&](uint64_t done, uint64_t) { return done == 0; }); });
  EXPECT(runtime.list_models().empty());
  runtime.load_model(spec, [&](uint64_t done, uint64_t all) {
    EXPECT(done >= last && done <= all);
    last = done;
    total = all;
    return true;
  });
  EXPECT_EQ(runtime.list_models().size(), 2u);
  EXPECT(last > 0 && last == total);
}

TEST(an_adapter_that_does_not_fit_its_model_keeps_it_out) {
  Runtime runtime(small_options());
  runtime.load_lora_adapter("other", lora::open_adapter(kDemo + "adapter"), "small");
  EXPECT_ERROR(kAdapter, { runtime.load_model({.model_id = "small", .model_path = kSmall}); });
  EXPECT(runtime.list_models().empty());
  EXPECT_EQ(runtime.list_adapters().size(), 1u);
  runtime.unload_lora_adapter("other");
  runtime.load_model({.model_id = "small", .model_path = kSmall});
  EXPECT_EQ(runtime.list_models().size(), 1u);
}

TEST(an_adapter_id_belongs_to_one_model) {
  Runtime runtime(small_options());
  runtime.load_model({.model_id = "one", .model_path = kSmall});
  runtime.load_model({.model_id = "two", .model_path = kSmall});
  runtime.load_lora_adapter("mine", lora::open_adapter(kSmallAdapter), "one");
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest,
                               {
                                 runtime.load_lora_adapter(
                                     "mine", lora::open_adapter(kSmallAdapter), "two");
                               }),
                  "'mine' is taken by an adapter of model 'one'"));
}

TEST(options_that_would_let_tenants_harm_each_other_are_refused) {
  RuntimeOptions options = small_options();
  options.engine.max_queue = 5;
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { Runtime runtime(options); }), "max_queue"));
}

TEST(handles_outlive_their_runtime) {
  std::shared_ptr<Tenant> tenant;
  std::shared_ptr<Request> running;
  {
    Runtime runtime(small_options());
    runtime.load_model({.model_id = "small", .model_path = kSmall});
    tenant = runtime.get_or_create("acme", "small");
    running = tenant->submit(request({1, 2, 3}, 60));
  }
  EXPECT(running->wait_end(seconds(10)));
  EXPECT_EQ(tenant->stats().total_requests, 1u);
  EXPECT(tenant->model() == nullptr && tenant->is_released());
  EXPECT_ERROR(kInvalidRequest, { tenant->submit(request({1})); });
}

TEST(many_threads_may_do_anything_at_once) {
  Runtime runtime(small_options());
  std::atomic<int64_t> n_answers{0}, n_wrong{0};
  const auto run = [&](unsigned seed) {
    Random random(seed);
    for (int i = 0; i < 300; ++i) {
      const std::string model = concat("model-", between(random, 0, 1));
      const std::string tenant = concat("tenant-", between(random, 0, 3));
      try {
        switch (between(random, 0, 9)) {
          case 0:
            runtime.load_model({.model_id = model, .model_path = kSmall});
            break;
          case 1:
            if (between(random, 0, 3) == 0) runtime.unload_model(model);
            break;
          case 2:
            runtime.load_lora_adapter("lora-" + model, lora::open_adapter(kSmallAdapter), model);
            break;
          case 3:
            if (between(random, 0, 3) == 0) runtime.unload_lora_adapter("lora-" + model);
            break;
          case 4:
            runtime.set_tenant_lora_adapter(tenant, "lora-" + model);
            break;
          case 5:
            if (between(random, 0, 3) == 0) runtime.release(tenant);
            break;
          case 6:
            prometheus_text(runtime.metrics());
            runtime.list_models();
            runtime.list_adapters();
            break;
          default: {
            TenantOptions options;
            options.quota = Quota{.concurrent_requests = 2, .queued_requests = 2};
            const auto handle = runtime.get_or_create(tenant, model, options);
            const auto one = handle->submit(request({1, 2, 3, 4, 5}));
            if (!one->wait_end(seconds(30))) ++n_wrong;
            const Finish finish = *one->report().finish;
            if (finish.error) ++n_wrong;
            if (finish.reason == FinishReason::kLength) ++n_answers;
          }
        }
      } catch (const Error& error) {  // what others did meanwhile
        const bool is_expected =
            error.code() == ErrorCode::kInvalidRequest || error.code() == ErrorCode::kQuotaExceeded;
        if (!is_expected) {
          ++n_wrong;
          report_failure(__FILE__, __LINE__, error.what());
        }
      }
    }
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 6; ++seed) threads.emplace_back(run, seed);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(n_wrong.load(), 0);
  EXPECT(n_answers > 10);  // how many find a model there is chance
  std::thread(&Runtime::close, &runtime).join();
  EXPECT(contains(EXPECT_ERROR(kInvalidRequest, { runtime.list_models(); }), "closed"));
}

TEST(figures_are_written_as_prometheus_reads_them) {
  MetricHistogram histogram{{{0.001, 2}, {0.002, 5}}, 7, 0.25};
  const std::vector<MetricFamily> families{
      {"plain", "Some number.", MetricType::kGauge, {{{}, 1.5}}},
      {"odd",
       "Odd ones.",
       MetricType::kCounter,
       {{{{"a", "quote \" slash \\ line\n"}, {"b", ""}}, 1e21},
        {{{"a", "x"}}, std::numeric_limits<double>::infinity()},
        {{{"a", "y"}}, std::nan("")}}},
      {"times", "Times.", MetricType::kHistogram, {{{{"m", "x"}}, histogram}}}};
  EXPECT_EQ(
      prometheus_text(families),
      "# HELP plain Some number.\n# TYPE plain gauge\nplain 1.5\n"
      "# HELP odd Odd ones.\n# TYPE odd counter\n"
      "odd{a=\"quote \\\" slash \\\\ line\\n\",b=\"\"} 1e+21\n"
      "odd{a=\"x\"} +Inf\nodd{a=\"y\"} NaN\n"
      "# HELP times Times.\n# TYPE times histogram\n"
      "times_bucket{m=\"x\",le=\"0.001\"} 2\ntimes_bucket{m=\"x\",le=\"0.002\"} 5\n"
      "times_bucket{m=\"x\",le=\"+Inf\"} 7\ntimes_sum{m=\"x\"} 0.25\ntimes_count{m=\"x\"} 7\n");
}

TEST(buckets_count_exactly_what_lies_below_their_bounds) {
  Random random(5);
  LatencyHistogram latencies;
  std::vector<int64_t> all;
  for (int i = 0; i < 5000; ++i) {
    all.push_back(int64_t{1} << between(random, 5, 41));
    all.back() += between(random, 0, all.back() - 1);
    latencies.add(all.back());
  }
  double sum = 0;
  for (const int64_t ns : all) sum += static_cast<double>(ns) * 1e-9;
  EXPECT(near(latencies.sum(), sum, 1e-6 * sum));
  for (int octave = 10; octave < 40; ++octave) {
    const auto below = static_cast<uint64_t>(std::count_if(
        all.begin(), all.end(), [&](int64_t ns) { return ns < int64_t{1} << octave; }));
    // What is below the first bucket counts in it.
    EXPECT(octave == 10 || latencies.count_below(octave) == below);
  }
}
