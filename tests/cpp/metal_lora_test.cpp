// The adapters of gpu_lora.inc on the emulated Metal device, which leaves those of experts.
#include "cpp/metal_device.h"

using namespace realm;
using Device = test::MetalDevice;

namespace {

constexpr char kDevice[] = "metal";
constexpr double kManyRowsError = 1e-8;

}  // namespace

#include "cpp/gpu_lora.inc"

TEST(adapters_of_experts_are_refused_with_advice) {
  const auto model = load("mixtral-8-experts", kDevice);
  const auto set = adapter_of(*model, "mixtral-experts", 1.0f);
  const std::string text =
      EXPECT_ERROR(kDevice, { test::logits(model, {1, 2, 3}, KvType::kF32, 512, set); });
  EXPECT(test::contains(text, "experts") && test::contains(text, "merge"));
  test::logits(model, {1, 2, 3}, KvType::kF32, 512);  // the base goes on
}
