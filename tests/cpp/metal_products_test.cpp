// Matrix products as gpu_products.inc tries them, on the emulated Metal device, which rounds no
// input; and what it does with a weight's bytes.
#include "cpp/metal_device.h"
#include "metal/emulation/runtime.h"
#include "metal/metal_weight.h"

using namespace realm;
using Device = test::MetalDevice;
using test::Floats;

namespace {

constexpr DType kPacked[] = {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

bool becomes_halves(DType) {
  return false;
}

Floats rounded_input(Floats in, DType, int64_t) {
  return in;
}

}  // namespace

#include "cpp/gpu_products.inc"

TEST(a_format_without_a_kernel_is_refused_by_name) {
  Device device;
  const Sample sample(DType::kQ5_1, 2, 64, 1);
  const std::string text = EXPECT_ERROR(kFormat, { device.backend->load_weight(sample.view()); });
  EXPECT(test::contains(text, "Q5_1") && test::contains(text, "Metal"));
  // A refusal is not a failure of the device.
  device.backend->load_weight(Sample(DType::kQ8_0, 2, 64, 1).view());
}

TEST(a_weight_is_read_where_its_file_is_mapped_and_copied_where_it_cannot_be) {
  Device device;
  const Sample sample(DType::kQ4_K, 40, 256, 9);
  const auto memory = std::make_shared<std::vector<std::byte>>(sample.bytes.size() + 64);
  std::byte* aligned = memory->data();
  while (reinterpret_cast<uintptr_t>(aligned) % 16) ++aligned;
  const Matrix x = device.matrix(3, test::normal_values(3 * 256, 4)), out = device.poisoned(3, 40);
  const auto product_at = [&](std::byte* at, std::shared_ptr<void> owner, bool mapped) {
    std::memcpy(at, sample.bytes.data(), sample.bytes.size());
    const uint64_t before = simt::metal_state().n_mapped;
    const auto weight = device.backend->load_weight(
        {sample.dtype, sample.rows, sample.cols, {at, sample.bytes.size()}, std::move(owner)});
    EXPECT_EQ(simt::metal_state().n_mapped, before + (mapped ? 1 : 0));
    EXPECT_EQ(metal::metal_weight(*weight).is_mapped(), mapped);
    const Product one{*weight, {}, out};
    device.backend->linear({&one, 1}, x);
    return device.read(out);
  };
  const Floats mapped = product_at(aligned, memory, true);
  EXPECT(product_at(aligned + 2, memory, false) == mapped);
  EXPECT(product_at(aligned, nullptr, false) == mapped);
  simt::metal_state().refuses_mapping = true;
  EXPECT(product_at(aligned, memory, false) == mapped);
  simt::metal_state().refuses_mapping = false;
  EXPECT_EQ(memory.use_count(), 1);
}
