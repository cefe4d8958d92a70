// An engine over the CUDA backend when its device fails or has little memory, on the emulated
// device: what goes wrong is told with a typed error and the numbers, and ends nobody else.
#include "cpp/engine_world.h"
#include "cpp/harness.h"
#include "cuda/emulation/runtime.h"

using namespace realm;
using namespace realm::test;

namespace {

// Restores the emulated device when a test is done with it.
struct Restore {
  simt::DeviceState& state = simt::device_state();
  uint64_t memory_bytes = state.memory_bytes;
  ~Restore() {
    state.memory_bytes = memory_bytes;
    state.fail_call_in = state.fail_launch_in = 0;
    state.lost = false;
  }
};

RequestOptions some_request(int64_t n_prompt, int64_t n_vocab) {
  Random random(6);
  RequestOptions one;
  one.prompt = random_tokens(random, n_prompt, n_vocab);
  one.params.max_tokens = 6;
  one.params.seed = 4;
  one.params.ignore_eos = true;
  return one;
}

ErrorCode code_of(Request& request) {
  EXPECT(answer_of(request).reason == FinishReason::kError);
  return request.report().finish->error->code();
}

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

TEST(a_call_of_any_kind_that_fails_is_an_error_of_the_device_and_loses_nobody_else) {
  struct Failure {
    const char* call;  // null: a launch
    int in;            // of those that follow the engine's making
  };
  const auto cpu = load_on("cpu");
  const RequestOptions one = some_request(4, cpu->config().n_vocab);
  const Answer expected = alone(cpu, one, KvType::kF16);
  for (const auto& [call, in] : std::initializer_list<Failure>{{nullptr, 1},
                                                               {nullptr, 150},
                                                               {"choosing a device", 30},
                                                               {"allocating memory", 1},
                                                               {"allocating memory", 4},
                                                               {"uploading", 1},
                                                               {"uploading", 11},
                                                               {"downloading", 2},
                                                               {"waiting for the device", 1},
                                                               {"beginning a capture", 1},
                                                               {"ending a capture", 1},
                                                               {"launching a graph", 3}}) {
    const Restore restore;
    const auto gpu = load_on("cuda");
    Engine lost(gpu, {.max_sequences = 2}, {}), other(cpu, {.record_logits_hash = true}, {});
    if (call) {
      simt::device_state().failing_call = call;
      simt::device_state().fail_call_in = in;
    } else {
      simt::device_state().fail_launch_in = in;
    }
    std::vector<std::shared_ptr<Request>> requests;
    for (int i = 0; i < 3; ++i) requests.push_back(lost.submit(one));  // the third waits
    const auto neighbour = other.submit(one);
    for (const auto& request : requests) {
      if (code_of(*request) != ErrorCode::kDevice)
        test::report_failure(__FILE__, __LINE__, concat(call ? call : "launching", " in ", in));
    }
    EXPECT(simt::device_state().lost);
    EXPECT(answer_of(*neighbour) == expected);
    simt::device_state().lost = false;  // the backend stays lost all the same
    EXPECT(code_of(*lost.submit(one)) == ErrorCode::kDevice);
    EXPECT_ERROR(kDevice, { Engine(gpu, {}, {}); });
    load_on("cuda")->backend().sync();  // a new one on the device works
  }
}

TEST(a_device_that_fails_while_a_model_is_loaded_is_told_and_leaves_nothing_behind) {
  const uint64_t before = simt::device_state().used_bytes;
  for (const char* call : {"reading a device's properties", "choosing a device", "making a stream",
                           "allocating memory", "uploading"}) {
    for (const int in : {1, 2, 9}) {
      const Restore restore;
      simt::device_state().failing_call = call;
      simt::device_state().fail_call_in = in;
      std::shared_ptr<Model> model;
      try {
        model = load_on("cuda");
        EXPECT(!simt::device_state().lost && in > 1);  // so often it is not called
      } catch (const Error& error) {
        EXPECT(error.code() == ErrorCode::kDevice);
        EXPECT(contains(error.what(), call) && contains(error.what(), "lost"));
      }
    }
    simt::device_state().used_bytes = before;  // a lost device has no memory to give back
    EXPECT(load_on("cuda") != nullptr);
    EXPECT_EQ(simt::device_state().used_bytes, before);
  }
}

TEST(a_step_for_which_memory_runs_out_ends_its_requests_and_the_engine_goes_on) {
  const Restore restore;
  const auto gpu = load_on("cuda");
  Engine engine(gpu, {.max_sequences = 2}, {});
  const RequestOptions little = some_request(3, gpu->config().n_vocab),
                       much = some_request(30, gpu->config().n_vocab);
  const Answer expected = answer_of(*engine.submit(little));
  EXPECT(expected.reason == FinishReason::kLength);
  restore.state.memory_bytes = restore.state.used_bytes;
  const auto failing = engine.submit(much);
  EXPECT(code_of(*failing) == ErrorCode::kOutOfMemory);
  EXPECT(contains(failing->report().finish->error->what(), "are needed"));
  restore.state.memory_bytes = restore.memory_bytes;
  EXPECT(answer_of(*engine.submit(little)) == expected);
  EXPECT(answer_of(*engine.submit(much)).reason == FinishReason::kLength);
}
