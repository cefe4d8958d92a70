// Steps as graphs when something goes wrong, and what they take of the device: on the emulated one,
// which counts and fails as a test wishes.
#include "cpp/cuda_steps.h"
#include "cuda/emulation/runtime.h"

using namespace realm;
using namespace realm::test;

namespace {

// Restores the emulated device when a test is done with it.
struct Device {
  ~Device() {
    simt::device_state().fails_captures = simt::device_state().lost = false;
    simt::device_state().fail_launch_in = 0;
  }
};

}  // namespace

TEST(a_replayed_step_is_one_launch_and_allocates_nothing) {
  Loaded model("arch/llama/model-f32");
  Travel travel(model, KvType::kF16);
  travel.run({{0, 9}});
  travel.run({{0, 1}});  // issued, and then captured
  travel.run({{0, 1}});
  const simt::DeviceState before = simt::device_state();
  for (int i = 0; i < 5; ++i) travel.run({{0, 1}});
  const simt::DeviceState& after = simt::device_state();
  EXPECT_EQ(after.n_graphs_launched - before.n_graphs_launched, 5u);
  EXPECT_EQ(after.n_allocations, before.n_allocations);
  EXPECT_EQ(model.count("steps issued"), 2u);
  EXPECT_EQ(model.count("steps captured"), 1u);
  EXPECT_EQ(model.count("steps replayed"), 6u);
}

TEST(steps_of_sizes_that_were_seen_allocate_nothing_whoever_is_in_them) {
  for (const char* name : {"forward/gemma2-window", "forward/qwen2moe-ties"}) {
    Loaded model(name);
    Travel travel(model, KvType::kF16);
    // The same sizes twice, by other sequences each time.
    const auto run_all = [&](size_t first) {
      std::mt19937 random(29);
      for (int i = 0; i < 24; ++i) {
        std::vector<Part> parts;
        for (size_t s = 0; s < 3; ++s) {
          const int32_t n = random() % 8 == 0 ? 1 + static_cast<int32_t>(random() % 19) : 1;
          if (random() % 4 == 0) continue;
          const size_t sequence = (first + s) % kSequences;
          if (travel.done(sequence) + n <= 90) parts.push_back({sequence, n});
        }
        if (!parts.empty()) travel.run(parts);
      }
    };
    run_all(0);
    const uint64_t allocated = simt::device_state().n_allocations;
    run_all(7);
    EXPECT_EQ(simt::device_state().n_allocations, allocated);
    EXPECT(model.count("steps replayed") > 12);
    EXPECT(model.count("steps issued") > 0);
  }
}

TEST(a_capture_that_fails_is_counted_and_the_step_is_issued) {
  const Device restore;
  Loaded model("forward/llama-biases");
  Twins twins(model);
  simt::device_state().fails_captures = true;
  for (int i = 0; i < 4; ++i) twins.step({{0, 1}}, "while captures fail");
  EXPECT_EQ(model.count("captures failed"), 1u);  // and is not tried again
  EXPECT_EQ(model.count("steps issued"), 4u);
  EXPECT_EQ(model.count("steps replayed"), 0u);
  simt::device_state().fails_captures = false;
  for (int i = 0; i < 3; ++i) twins.step({{0, 1}, {1, 1}}, "of another form");
  EXPECT_EQ(model.count("steps replayed"), 2u);
}

TEST(a_step_that_is_cancelled_leaves_no_half_a_graph) {
  Loaded model("forward/llama-biases");
  Twins twins(model);
  const std::atomic<bool> cancelled = true;
  const auto cancel = [&] { EXPECT_ERROR(kCancelled, { twins.ours.run({{0, 1}}, &cancelled); }); };
  twins.step({{0, 1}});
  cancel();  // while it would be captured
  EXPECT_EQ(model.count("steps captured"), 0u);
  twins.step({{0, 1}}, "after a cancelled capture");
  EXPECT_EQ(model.count("steps captured"), 1u);
  const uint64_t launched = simt::device_state().n_graphs_launched;
  cancel();  // while it would be replayed
  EXPECT_EQ(simt::device_state().n_graphs_launched, launched);
  twins.step({{0, 1}}, "after a cancelled replay");
  EXPECT_EQ(model.count("steps replayed"), 2u);
}

TEST(a_device_that_is_lost_in_a_graph_fails_the_step_and_stays_lost) {
  const Device restore;
  Loaded model("forward/llama-biases");
  Travel travel(model, KvType::kF16);
  for (int i = 0; i < 3; ++i) travel.run({{0, 1}});
  simt::device_state().fail_launch_in = 5;
  EXPECT_ERROR(kDevice, { travel.run({{0, 1}}); });
  simt::device_state().lost = false;
  const std::string text = EXPECT_ERROR(kDevice, { travel.run({{0, 1}}); });
  EXPECT(contains(text, "was lost"));
}

TEST(graphs_end_with_their_decoder) {
  Loaded model("forward/llama-biases");
  uint64_t before = 0;
  for (int round = 0; round < 3; ++round) {
    {
      Travel travel(model, KvType::kF16);
      for (int i = 0; i < 4; ++i) travel.run({{0, 1}});
    }
    if (round == 0) before = simt::device_state().used_bytes;  // working memory of ops stays
  }
  EXPECT_EQ(simt::device_state().used_bytes, before);
}
