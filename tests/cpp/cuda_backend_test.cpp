// The CUDA backend as gpu_backend.inc tries it, on the emulated device; devices by name.
#include "backend/registry.h"
#include "cuda/emulation/runtime.h"

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

TEST(a_model_is_deterministic_when_asked) {
  const auto file = gguf::GgufFile::open(REALM_GOLDEN_DIR "/forward/llama-biases.gguf");
  for (const bool asked : {false, true}) {
    const auto model = Model::load(file, {.device = "cuda", .deterministic = asked});
    EXPECT_EQ(test::contains(model->backend().description(), "deterministic"), asked);
  }
}
