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

TEST(steps_with_adapters_of_a_known_shape_allocate_nothing_and_upload_tables_when_members_change) {
  Adapted model("arch/qwen3/model-f32");
  const auto load = [&](const char* name, float scale) {
    return model.load(name, "arch/qwen3/adapters/all-linear", scale);
  };
  auto one = load("one", 0.5f), other = load("other", -0.5f);
  Travel travel(*model, KvType::kF16);
  // What a step with these adapters took of the device.
  const auto run = [&](const AdapterSet* first, const AdapterSet* second) {
    travel.adapters[0] = first;
    travel.adapters[1] = second;
    const simt::DeviceState before = simt::device_state();
    travel.run({{0, 1}, {1, 1}});
    simt::DeviceState after = simt::device_state();
    after.n_allocations -= before.n_allocations;
    after.n_uploads -= before.n_uploads;
    after.n_graphs_launched -= before.n_graphs_launched;
    return after;
  };
  run(one.get(), other.get());                               // issued
  EXPECT_EQ(run(one.get(), other.get()).n_allocations, 0u);  // captured
  const uint64_t n_uploads = run(one.get(), other.get()).n_uploads;
  for (int i = 0; i < 3; ++i) {
    const simt::DeviceState swapped = run(other.get(), one.get()),
                            same = run(other.get(), one.get());
    EXPECT_EQ(swapped.n_uploads, n_uploads + 1);
    EXPECT_EQ(same.n_uploads, n_uploads);
    for (const simt::DeviceState& took : {swapped, same}) {
      EXPECT_EQ(took.n_graphs_launched, 1u);
      EXPECT_EQ(took.n_allocations, 0u);
    }
    one.reset();
    one = load("one", 0.1f * static_cast<float>(i));  // in place of the one before
    std::swap(one, other);
  }
  EXPECT_EQ(model.count("steps issued"), 1u);
  EXPECT_EQ(model.count("steps captured"), 1u);
  EXPECT_EQ(model.count("steps replayed"), 8u);
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
