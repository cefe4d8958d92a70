// One answer per request: in random schedules over models of every kind, each request's tokens,
// text and logits are those it gets alone. Counters prove that the schedules reach every path and
// choice. And the inverse: a forward that depends on its company, by a kernel or otherwise, is
// found out.
#include "cpp/engine_schedules.h"

#include <cmath>

#include "backend/registry.h"
#include "base/cpu_features.h"
#include "cpp/harness.h"
#include "cpu/cpu_backend.h"
#include "cpu/dispatch.h"
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

const char* const kF32 = "arch/llama/model-f32";
const char* const kQuantized[] = {"quant/Q8_0", "quant/Q4_K_M"};

// Fails for each choice or path that no schedule reached.
void expect_seen(const Outcome& all, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const auto found = all.seen.find(name);
    if (found == all.seen.end() || found->second == 0) {
      report_failure(__FILE__, __LINE__, concat("no schedule reached: ", name));
    }
  }
}

// Whether some matrix of a layer has sums of 512 elements or more, a width that is no multiple of
// 16.
struct Widths {
  bool deep = false, ragged = false;
};
Widths widths_of(const std::string& name) {
  Widths widths;
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", name, ".gguf"));
  for (const gguf::TensorInfo& t : file->tensors()) {
    if (t.shape.rank() < 2 || !t.name.starts_with("blk.")) continue;
    widths.deep |= t.shape[t.shape.rank() - 1] >= 512;
    widths.ragged |= t.shape[t.shape.rank() - 2] % 16 != 0;
  }
  return widths;
}

// Several rows times one panel of floats, added from the last k to the first: right by itself, and
// not what one row gets alone.
template <int kRows>
void add_backwards(const uint8_t* panel, int64_t, const float* x, int64_t x_stride, int64_t depth,
                   float* acc) {
  const auto* weights = reinterpret_cast<const float*>(panel);
  for (int row = 0; row < kRows; ++row) {
    for (int64_t k = depth - 1; k >= 0; --k) {
      for (int lane = 0; lane < cpu::kPanelRows; ++lane) {
        float& sum = acc[row * cpu::kPanelRows + lane];
        sum = std::fma(weights[k * cpu::kPanelRows + lane], x[row * x_stride + k], sum);
      }
    }
  }
}

// The kernels of this machine, but several rows of F32 weights have a kernel of their own.
const cpu::PanelKernels& planted_kernels() {
  static const cpu::PanelKernels planted = [] {
    cpu::PanelKernels kernels = cpu::panel_kernels_for(active_cpu_level());
    auto& floats = kernels.floats[static_cast<int>(cpu::FloatPanel::kF32)];
    for (int rows = 2; rows <= cpu::kMaxFloatRows; ++rows) {
      for (cpu::FloatKernel& kernel : floats[rows]) kernel = nullptr;
    }
    floats[2][1] = add_backwards<2>;
    floats[4][1] = add_backwards<4>;
    return kernels;
  }();
  return planted;
}

}  // namespace

namespace realm {

// Stands before the core's: in this program the device "cuda" is the CPU with planted kernels.
BackendProbe probe_cuda() {
  return {"cuda", false, "a CPU with planted kernels", {}};
}
std::unique_ptr<Backend> make_cuda_backend(int, bool, ActivationKind) {
  return std::make_unique<cpu::CpuBackend>(cpu::kernels_for(active_cpu_level()), planted_kernels(),
                                           ThreadPool::shared(1), ActivationKind::kInt8);
}

}  // namespace realm

TEST(answers_in_random_schedules_are_those_of_each_request_alone) {
  Outcome all;
  Widths widths;
  for (const int n_threads : {1, 2}) {
    const auto seed = static_cast<unsigned>(n_threads) * 1000;
    for (const char* name : kModels) {
      all += run_schedules(name, {.model = golden(name, n_threads), .weights = "F16"}, seed,
                           kIsSanitized ? 2 : scaled(16));
      const Widths of_this = widths_of(name);
      widths.deep |= of_this.deep;
      widths.ragged |= of_this.ragged;
    }
  }
  EXPECT(widths.deep && widths.ragged);
  expect_seen(all, {"F16 floats", "kv f32", "kv f16", "kv q8_0", "starving", "generous",
                    "prefix cache", "no prefix cache", "experts", "window"});
  if (!kIsSanitized) {
    expect_seen(all, {"budget 16", "budget 32", "budget 64", "budget 128", "budget 256",
                      "budget 512", "sequences 1", "sequences 2", "sequences 4", "sequences 8",
                      "sequences 16", "sequences 32"});
  }
  EXPECT(all.n_answers > 200);
  EXPECT(all.n_cancelled > 10);
  EXPECT(all.n_preempted > 10);
  EXPECT(all.n_hits > 10);
  EXPECT(all.widest >= 8);
}

TEST(quantized_and_larger_models_keep_the_promise_too) {
  if (kIsSanitized) return;  // what is theirs alone are kernels, which have suites of their own
  const auto small = [](std::shared_ptr<Model> model, const char* weights) {
    return Setting{.model = std::move(model),
                   .max_prompt = 60,
                   .max_tokens = 8,
                   .max_requests = 10,
                   .weights = weights};
  };
  Outcome all;
  for (const char* name : kQuantized) {
    all += run_schedules(name, small(golden(name), name), 1, scaled(8));
    const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", name, ".gguf"));
    ModelOptions in_place{.n_threads = 2, .load = {}};
    in_place.load.mapped = true;
    all += run_schedules(name, small(Model::load(file, in_place), "mapped"), 1, scaled(4));
  }
  expect_seen(all, {"quant/Q8_0 fused", "quant/Q8_0 slab", "quant/Q8_0 tail", "quant/Q4_K_M fused",
                    "mapped slab", "mapped tail"});
  const auto pays = cpu::panel_kernels_for(active_cpu_level()).integer.pays;
  if (pays) expect_seen(all, {"quant/Q4_K_M integer", "mapped integer"});
  if (!pays || !pays(cpu::kMaxFusedRows + 1)) {
    expect_seen(all, {"quant/Q4_K_M slab", "quant/Q4_K_M tail"});
  }
  EXPECT_EQ(all.seen["mapped fused"], uint64_t{0});  // from packed bits alone
  const Outcome exact = run_schedules("F32", small(golden(kF32), "F32"), 1, scaled(8));
  expect_seen(exact, {"F32 floats"});
  Setting crowd = small(golden(kF32), "F32");
  crowd.max_prompt = 30;
  crowd.max_requests = 90;
  EXPECT_EQ(run_schedules("crowd", crowd, 1, scaled(16)).widest, 32);
  Setting warm = small(demo(), "demo");
  warm.temperature = 0.8;
  EXPECT(run_schedules("demo", warm, 1, scaled(8)).n_answers > 0);
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

TEST(a_kernel_that_depends_on_its_company_is_found_out) {
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", kF32, ".gguf"));
  Outcome sound, planted;
  for (unsigned seed = 0; seed < 4; ++seed) {
    Setting setting{.model = golden(kF32), .max_prompt = 30, .max_tokens = 15};
    sound += RandomSchedule(setting, seed).run();
    setting.model = Model::load(file, {.device = "cuda", .load = {}});
    planted += RandomSchedule(setting, seed).run();
  }
  EXPECT_EQ(sound.n_wrong, 0);
  EXPECT(planted.n_wrong > 0);
}
