// The CUDA backend as gpu_backend.inc tries it, on the emulated device; devices by name.
#include "backend/registry.h"
#include "cuda/emulation/runtime.h"
#include "lora/adapter_source.h"

using namespace realm;

namespace {

constexpr char kDevice[] = "cuda";
constexpr uint64_t kTooLittle = 300 << 10;
constexpr char kOddFormat[] = "forward/type-MXFP4";

simt::DeviceState& device_state() {
  return simt::device_state();
}
void fail_in(int launches) {
  device_state().fail_launch_in = launches;
}
std::unique_ptr<Backend> make_deterministic() {
  return make_cuda_backend(0, true);
}

}  // namespace

#include "cpp/gpu_backend.inc"

TEST(devices_are_chosen_by_name_and_refused_with_a_reason) {
  EXPECT(test::contains(make_backend("cuda", 1)->description(), "cuda 0, emulated"));
  EXPECT(test::contains(make_backend("cuda:0", 1)->description(), "sm_90"));
  EXPECT(test::contains(make_backend("auto", 1)->description(), "cpu"));
  setenv("REALM_BACKEND", "cuda", 1);
  EXPECT(test::contains(make_backend("auto", 1)->description(), "cuda 0"));
  EXPECT(test::contains(make_backend("cpu", 1)->description(), "cpu"));
  unsetenv("REALM_BACKEND");
  const std::string absent = EXPECT_ERROR(kDevice, { make_backend("cuda:1", 1); });
  EXPECT(test::contains(absent, "no CUDA device 1; this machine has 1"));
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:1x", "cuda:-1", "CUDA"})
    EXPECT_ERROR(kInvalidRequest, { make_backend(name, 1); });
  const BackendProbe probe = probe_cuda();
  EXPECT(probe.available && probe.devices.size() == 1 && probe.devices[0].memory_bytes > 0);
}

TEST(a_device_that_is_too_old_for_the_kernels_is_refused_by_name) {
  simt::DeviceState& state = simt::device_state();
  state.major = 7, state.minor = 5;
  const std::string text = EXPECT_ERROR(kDevice, { make_backend("cuda", 1); });
  state.major = 9, state.minor = 0;
  EXPECT(test::contains(text, "sm_75") && test::contains(text, "need sm_80"));
}

TEST(a_model_is_deterministic_when_asked) {
  const auto file = gguf::GgufFile::open(REALM_GOLDEN_DIR "/forward/llama-biases.gguf");
  for (const bool asked : {false, true}) {
    const auto model = Model::load(file, {.device = "cuda", .deterministic = asked});
    EXPECT_EQ(test::contains(model->backend().description(), "deterministic"), asked);
  }
}

TEST(decoding_with_adapters_allocates_nothing_and_uploads_no_plan_again) {
  const auto model = load("arch/qwen3/model-f32", "cuda");
  const AdapterNames names{{"all-linear", 1.0f}, {"rslora-qv", -0.5f}};
  for (const auto& [name, scale] : names) {
    const std::string path = concat(REALM_GOLDEN_DIR "/arch/qwen3/adapters/", name);
    model->adapters().load(name, lora::open_adapter(path), true);
  }
  SoloSequence sequence(
      model,
      {.kv_type = KvType::kF32, .max_tokens = 60, .adapters = model->adapters().set_of(names)});
  std::vector<float> logits(static_cast<size_t>(model->config().n_vocab));
  const auto uploads = [&](const Tokens& tokens) {
    const uint64_t before = device_state().n_uploads;
    sequence.append(tokens, 1, logits.data());
    return device_state().n_uploads - before;
  };
  const Tokens prompt{1, 2, 3, 4, 5, 6, 7};
  device_state().fails_captures = true;  // so that steps are issued op by op
  const uint64_t first_prompt = uploads(prompt), first = uploads({8});
  uploads(prompt);  // which tries a capture, as the next one does
  uploads({8});
  device_state().fails_captures = false;
  const uint64_t n_allocations = device_state().n_allocations;
  // A layer has four inputs, each with a plan.
  const auto n_plans = static_cast<uint64_t>(4 * model->config().n_layers);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(uploads({9}) + n_plans, first);
  EXPECT_EQ(uploads(prompt) + n_plans, first_prompt);
  EXPECT_EQ(device_state().n_allocations, n_allocations);
}
