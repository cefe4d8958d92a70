// The adapters of gpu_lora.inc on the emulated CUDA device.
#include "cpp/cuda_device.h"

using namespace realm;
using Device = test::CudaDevice;

namespace {

constexpr char kDevice[] = "cuda";
constexpr double kManyRowsError = 1e-5;  // F16 weights meet an input of halves

}  // namespace

#include "cpp/gpu_lora.inc"

// Kernels read whole rows as words where they can, several at a time, and rows alone by other
// kernels than rows in company.
TEST(bits_depend_neither_on_where_a_factor_lies_nor_on_company_in_its_tile) {
  for (const DType type : {DType::kF16, DType::kBF16, DType::kF32}) {
    Fixture fixture({type, 13, 3208, 516, 11});
    const auto run_shifted = [&](int64_t shift) {
      Products device;
      const Matrix out = device.matrix(fixture.out, 11);
      Floats unused = fixture.out;
      LoraProduct product = device.on_device(fixture, fixture.product(unused, true), out);
      for (FactorView* factor : {&product.down, &product.up}) {
        const int64_t width = type == DType::kF32 ? 4 : 2, n = factor->rows * factor->cols * width;
        std::byte* moved = device.bytes(n + width * shift) + width * shift;
        const TestFactor& host = factor == &product.down ? fixture.down : fixture.up;
        device.backend().upload(host.view().data, moved, static_cast<uint64_t>(n));
        factor->data = moved;
      }
      device.backend().add_lora({&product, 1}, device.matrix(fixture.in, 11));
      return device.read(out);
    };
    const Floats together = run_shifted(0);
    EXPECT(test::same_bits(run_shifted(1), together));
    double worst = 0;
    for (int64_t col = 0; col < 516; ++col) {
      const double got = together[static_cast<size_t>(10 * 516 + col)];
      worst = std::max(worst, std::abs(got - fixture.expected(10, col, true)));
    }
    EXPECT(worst <= 4e-6 * std::sqrt(13 * 3208.0));
    fixture.rows = {10};
    const Floats alone = run_shifted(0);
    EXPECT(std::memcmp(&alone[10 * 516], &together[10 * 516], 516 * sizeof(float)) == 0);
  }
}
