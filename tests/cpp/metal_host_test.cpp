// The host of real Metal, message by message, over a small Objective-C runtime (fake_metal.h) whose
// device is the emulated one: what it asks for, in which order, and what it lets go.
#include "backend/registry.h"
#include "cpp/fake_metal.h"
#include "cpp/gpu_device.h"
#include "cpp/harness.h"
#include "metal/emulation/runtime.h"
#include "metal/metal_backend.h"
#include "model/decoder.h"

// The host's own text; open_device() is the emulated device's in this program.
#define open_device open_system_device
#include "metal/runtime_objc.cpp"
#undef open_device

using namespace realm;
using test::fake_metal;
using test::FakeMetal;
using test::Floats;

namespace {

#if defined(__x86_64__) || defined(__aarch64__)
constexpr bool kCanSend = true;
#else
constexpr bool kCanSend = false;
#endif

struct Fresh {  // a system without the changes of other tests; at its end nothing lives, nothing
                // was wrong
  Fresh() { fake_metal() = FakeMetal{}; }
  ~Fresh() {
    for (const std::string& failure : fake_metal().failures)
      test::report_failure(__FILE__, __LINE__, failure);
    EXPECT_EQ(fake_metal().n_alive, 0);
    EXPECT(test::pools().empty());
  }
};

std::string refusal() {
  std::string reason;
  EXPECT(metal::open_system_device(reason) == nullptr);
  return reason;
}

std::string refusal_or_name() {
  std::string reason;
  const auto device = metal::open_system_device(reason);
  return device ? device->properties().name : reason;
}

std::unique_ptr<Backend> system_backend() {
  std::string reason;
  auto device = metal::open_system_device(reason);
  EXPECT_EQ(reason, std::string());
  return std::make_unique<metal::MetalBackend>(std::move(device), false);
}

// The logits of a prompt and of a token behind it.
Floats forward(const std::string& name, std::unique_ptr<Backend> backend) {
  const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR "/", name, ".gguf"));
  const ModelConfig config = parse_config(*file);
  const ModelWeights weights = load_weights(file, config, *backend, {});
  const KvStorage cache(*backend, config, KvType::kF16, {2, 2});
  Decoder decoder(*backend, config, weights, 16, 16);
  const std::vector<int32_t> pages{1, 0};
  Floats all;
  for (const auto& [first, n] : {std::pair{0, 11}, std::pair{11, 1}}) {
    std::vector<int32_t> tokens, positions;
    for (int32_t i = first; i < first + n; ++i) {
      tokens.push_back(3 + i * 7 % 25);
      positions.push_back(i);
    }
    const SequenceSpan span{0, n, first, 20, pages};
    const std::vector<int32_t> wanted{n - 1};
    decoder.run({tokens, positions, {&span, 1}, wanted}, cache);
    Floats logits(static_cast<size_t>(config.n_vocab));
    backend->download(decoder.logits().data, logits.data(), logits.size() * sizeof(float));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

}  // namespace

TEST(a_forward_through_the_host_has_the_bits_of_the_emulated_device) {
  if (!kCanSend) return;
  for (const char* name : {"arch/llama/model-f32", "quant/Q4_K_M", "arch/mixtral/model-f32"}) {
    const Fresh fresh;
    const Floats found = forward(name, system_backend());
    EXPECT_EQ(fake_metal().n_commits, 2);  // a step is one command buffer
    EXPECT(found == forward(name, make_metal_backend(false)));
  }
}

TEST(adapters_reach_their_factors_by_address) {
  if (!kCanSend) return;
  const Fresh fresh;
  simt::metal_state().hides_the_rest = true;
  test::GpuDevice device(system_backend());
  const Matrix in = device.matrix(2, {1, 2, 3, 4}), out = device.matrix(2, {10, 20, 30, 40});
  const auto factor = [&](const Floats& values) {
    return FactorView{reinterpret_cast<std::byte*>(device.matrix(1, values).data), DType::kF32, 1,
                      2, 2};
  };
  LoraProduct product;
  product.down = factor({1, 1});
  product.up = factor({2, 3});
  const std::vector<int32_t> rows{1};
  product.rows = rows;
  product.out = out;
  device.backend->add_lora({&product, 1}, in);
  EXPECT((device.read(out) == Floats{10, 20, 30 + 14, 40 + 21}));
  simt::metal_state().hides_the_rest = false;
}

TEST(a_device_that_does_not_serve_is_refused_with_the_reason) {
  if (!kCanSend) return;
  {
    const Fresh fresh;
    fake_metal().newest_family = 1006;
    EXPECT(test::contains(refusal(), "Fake M2 has no simdgroup matrices"));
  }
  {
    const Fresh fresh;
    fake_metal().shared_bytes = 16 << 10;
    EXPECT(test::contains(refusal(), "16384 bytes of threadgroup memory"));
  }
  {
    const Fresh fresh;
    fake_metal().has_addresses = false;
    EXPECT(test::contains(refusal(), "macOS 13"));
  }
  {
    const Fresh fresh;
    fake_metal().compiles = false;
    EXPECT(test::contains(refusal(), "metal/norm.metal:7: error: expected ';'"));
  }
}

TEST(a_system_that_names_no_default_device_is_asked_for_all) {
  if (!kCanSend) return;
  {
    const Fresh fresh;
    fake_metal().has_default_device = false;
    EXPECT_EQ(refusal_or_name(), std::string("Fake M2"));
  }
  {
    const Fresh fresh;
    fake_metal().has_default_device = fake_metal().has_devices = false;
    EXPECT_EQ(refusal_or_name(), std::string("the system has no Metal device"));
  }
}

TEST(a_system_before_math_modes_is_told_to_leave_fast_math) {
  if (!kCanSend) return;
  const Fresh fresh;  // the fake refuses to compile with it
  fake_metal().has_math_modes = false;
  EXPECT_EQ(refusal_or_name(), std::string("Fake M2"));
}

TEST(a_buffer_longer_than_the_device_takes_is_refused_with_the_limit) {
  if (!kCanSend) return;
  const Fresh fresh;
  simt::MetalState& state = simt::metal_state();
  const uint64_t before = state.buffer_bytes;
  state.buffer_bytes = 1 << 20;
  {
    const auto backend = system_backend();
    const std::string text = EXPECT_ERROR(kOutOfMemory, { backend->allocate(uint64_t{3} << 20); });
    EXPECT(test::contains(text, "a buffer of the Metal device has at most 1.00 MiB; 3.00 MiB"));
    backend->allocate(1 << 20);
  }
  state.buffer_bytes = before;
}

TEST(a_pipeline_that_does_not_fit_is_told_by_its_kernels_name) {
  if (!kCanSend) return;
  const Fresh fresh;
  test::GpuDevice device(system_backend());
  fake_metal().most_threads = 128;
  const Matrix x = device.matrix(2, {1, 2, 3, 4});
  const std::string text = EXPECT_ERROR(kDevice, { device.backend->scale(x, 2.0f); });
  EXPECT(test::contains(text, "scale_kernel runs in 128 threads at most and needs 256"));
}

TEST(a_command_buffer_that_fails_loses_the_device_with_metals_words) {
  if (!kCanSend) return;
  const Fresh fresh;
  test::GpuDevice device(system_backend());
  const Matrix x = device.matrix(2, {1, 2, 3, 4});
  fake_metal().completes = false;
  device.backend->scale(x, 2.0f);
  const std::string text = EXPECT_ERROR(kDevice, { device.backend->sync(); });
  EXPECT(test::contains(text, "Caused GPU Hang Error"));
  fake_metal().completes = true;
  EXPECT_ERROR(kDevice, { device.backend->scale(x, 2.0f); });
}

TEST(a_backend_that_ends_in_the_middle_of_a_step_ends_its_encoder) {
  if (!kCanSend) return;
  const Fresh fresh;
  test::GpuDevice device(system_backend());
  device.backend->scale(device.matrix(2, {1, 2, 3, 4}), 2.0f);
}
