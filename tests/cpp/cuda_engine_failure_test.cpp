// An engine over the CUDA backend when its device fails or has little memory, on the emulated
// device: what goes wrong is told with a typed error and the numbers, and ends nobody else.
#include "cpp/engine_world.h"
#include "cpp/harness.h"
#include "cuda/emulation/runtime.h"

using namespace realm;
using namespace realm::test;

namespace {

std::shared_ptr<Model> load_on(const char* device) {
  const auto file = gguf::GgufFile::open(REALM_GOLDEN_DIR "/arch/qwen3/model-f32.gguf");
  return Model::load(file, {.device = device, .n_threads = 1});
}

}  // namespace

TEST(a_lost_device_fails_the_requests_in_flight_and_nobody_else) {
  const auto gpu = load_on("cuda"), cpu = load_on("cpu");
  const int64_t n_vocab = gpu->config().n_vocab;
  Random random(5);
  RequestOptions one;
  one.prompt = random_tokens(random, 9, n_vocab);
  one.params.max_tokens = 30;
  one.params.seed = 4;
  one.params.ignore_eos = true;
  const auto code_of = [](Request& request) {
    EXPECT(answer_of(request).reason == FinishReason::kError);
    return request.report().finish->error->code();
  };
  Engine lost(gpu, {.max_sequences = 2}, [n_steps = 0](const StepBatch&, std::span<float>) mutable {
    if (++n_steps == 4) simt::device_state().fail_launch_in = 7;
  });
  Engine other(cpu, {.max_sequences = 2, .record_logits_hash = true}, {});
  std::vector<std::shared_ptr<Request>> requests, others;
  for (int i = 0; i < 3; ++i) {  // the third waits for a place
    requests.push_back(lost.submit(one));
    others.push_back(other.submit(one));
  }
  for (const auto& request : requests) EXPECT(code_of(*request) == ErrorCode::kDevice);
  simt::device_state().lost = false;
  EXPECT(code_of(*lost.submit(one)) == ErrorCode::kDevice);  // the backend stays lost
  EXPECT_ERROR(kDevice, { Engine(gpu, {}, {}); });
  for (const auto& request : others) EXPECT(answer_of(*request) == alone(cpu, one, KvType::kF16));
  lost.close();
  Engine again(load_on("cuda"), {.max_sequences = 2}, {});  // a new one on the device works
  EXPECT(answer_of(*again.submit(one)).reason == FinishReason::kLength);
}

TEST(an_engines_cache_is_made_from_what_the_device_has_left) {
  const auto model = load_on("cuda");
  simt::DeviceState& state = simt::device_state();
  const uint64_t before = state.memory_bytes;
  const auto blocks = [&](uint64_t free_bytes) {
    state.memory_bytes = state.used_bytes + free_bytes;
    return Engine(model, {.max_sequences = 500, .max_step_tokens = 500}, {})
        .stats()
        .kv_blocks_total;
  };
  const int64_t with_little = blocks(24 << 20), with_more = blocks(48 << 20);
  EXPECT(with_little > 0 && with_more > with_little + with_little / 2);
  const std::string nothing = EXPECT_ERROR(kOutOfMemory, { blocks(100); });
  EXPECT(test::contains(nothing, "75 bytes of the memory that is left"));
  state.memory_bytes = state.used_bytes + (4 << 20);
  EngineOptions greedy;
  greedy.kv_bytes = 64 << 20;
  const std::string text = EXPECT_ERROR(kOutOfMemory, { Engine(model, greedy, {}); });
  EXPECT(test::contains(text, "free of") && test::contains(text, "are needed"));
  state.memory_bytes = before;
}
