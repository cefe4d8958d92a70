// The Metal backend as gpu_backend.inc tries it, on the emulated device; and what is Metal's own:
// one command buffer for a step, and memory that the host shares.
#include "backend/registry.h"
#include "metal/emulation/runtime.h"

using namespace realm;

namespace {

constexpr char kDevice[] = "metal";
constexpr uint64_t kTooLittle = 1 << 10;  // weights take none
constexpr char kOddFormat[] = "quant/Q6_K";

simt::MetalState& device_state() {
  return simt::metal_state();
}
void fail_in(int dispatches) {
  device_state().fail_dispatch_in = dispatches;
}
std::unique_ptr<Backend> make_deterministic() {
  return make_metal_backend(true);
}

}  // namespace

#include "cpp/gpu_backend.inc"

TEST(the_device_is_chosen_by_name_and_missed_with_a_reason) {
  EXPECT(test::contains(make_backend("metal", 1)->description(), "metal, emulated"));
  EXPECT(test::contains(make_backend("auto", 1)->description(), "cpu"));
  for (const char* name : {"metal:0", "Metal", "metal "})
    EXPECT_ERROR(kInvalidRequest, { make_backend(name, 1); });
  const BackendProbe probe = probe_metal();
  EXPECT(probe.available && probe.devices.size() == 1 && probe.devices[0].memory_bytes > 0);
  simt::metal_state().is_absent = true;
  const std::string text = EXPECT_ERROR(kDevice, { make_backend("metal", 1); });
  EXPECT(test::contains(text, "no Metal device: the emulated device is switched off"));
  const BackendProbe absent = probe_metal();
  EXPECT(!absent.available && absent.devices.empty() && !absent.reason.empty());
  simt::metal_state().is_absent = false;
}

TEST(a_step_is_one_command_buffer) {
  const auto model = load("quant/Q4_K_M", "metal");
  SoloSequence sequence(model, {.kv_type = KvType::kF16, .max_tokens = 60, .adapters = {}});
  Floats logits(static_cast<size_t>(model->config().n_vocab));
  sequence.append(some_tokens(9), 1, logits.data());
  const simt::MetalState before = simt::metal_state();
  for (int i = 0; i < 3; ++i) sequence.append(some_tokens(1), 1, logits.data());
  const simt::MetalState& after = simt::metal_state();
  EXPECT_EQ(after.n_command_buffers, before.n_command_buffers + 3);
  EXPECT(after.n_dispatches > before.n_dispatches + 30);
}

TEST(weights_of_a_file_take_no_memory_of_the_device) {
  const uint64_t before = simt::metal_state().used_bytes, mapped = simt::metal_state().n_mapped;
  const auto model = load("quant/Q4_K_M", "metal");
  EXPECT_EQ(simt::metal_state().n_mapped, mapped + 16);
  EXPECT(simt::metal_state().used_bytes < before + (16 << 10));  // norms, and nothing else
}

TEST(a_cache_takes_no_more_than_most_of_what_the_device_has_left) {
  simt::MetalState& state = simt::metal_state();
  const uint64_t before = state.memory_bytes;
  {
    const auto backend = make_metal_backend(false);
    state.memory_bytes = state.used_bytes + (4 << 20);
    EXPECT_EQ(backend->memory_for_cache(), uint64_t{3} << 20);
    const auto taken = backend->allocate(4 << 20);
    EXPECT_EQ(backend->memory_for_cache(), uint64_t{0});
  }
  state.memory_bytes = before;
}

TEST(what_the_host_tells_a_step_stays_until_the_step_is_done) {
  test::GpuDevice device(make_metal_backend(false));
  Floats values(64 * 4);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const Matrix in = device.matrix(64, values);
  const Matrix first = device.poisoned(2, 4), second = device.poisoned(2, 4);
  std::vector<int32_t> rows{5, 63};
  device.backend->gather(in, rows, first);
  rows = {0, 1};  // the caller's memory is its own again
  device.backend->gather(in, rows, second);
  const Floats got = device.read(first), then = device.read(second);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(got[i], values[20 + i]);
    EXPECT_EQ(got[4 + i], values[63 * 4 + i]);
    EXPECT_EQ(then[4 + i], values[4 + i]);
  }
}

TEST(an_operand_from_elsewhere_is_refused_before_anything_runs) {
  test::GpuDevice device(make_metal_backend(false));
  Floats host(16);
  const Matrix x = device.matrix(4, host);
  EXPECT_ERROR(kInternal, { device.backend->add(x, {host.data(), 4, 4}, 1.0f); });
  device.backend->add(x, x, 1.0f);  // the backend goes on
  EXPECT(device.read(x) == host);
}
