// The vendor's matrix products, by a small library in their place (fake_cublaslt.h) over the
// emulated device: when they are used, what they are given, and what is done without them.
#include <cstdlib>
#include <cstring>

#include "backend/registry.h"
#include "cpp/cuda_device.h"
#include "cpp/fake_cublaslt.h"
#include "cpp/harness.h"
#include "cuda/emulation/memory.h"
#include "quant/formats.h"

using namespace realm;
using test::Doubles;
using test::fake_cublaslt;
using test::FakeCublasLt;
using test::Floats;

namespace {

// Rows from which on it is asked: for weights of 16 bits, and for others, which are decoded for it.
constexpr int64_t kMany = 256, kManyQuantized = 512;

struct Fresh {                 // at its end nothing lives in the library, and nothing was wrong
  const simt::Visible memory;  // to the library, which is of the host
  explicit Fresh(const char* file = REALM_FAKE_CUBLASLT) {
    fake_cublaslt() = FakeCublasLt{};
    setenv("REALM_CUBLASLT", file, 1);
  }
  ~Fresh() {
    unsetenv("REALM_CUBLASLT");
    for (const std::string& what : fake_cublaslt().complaints)
      test::report_failure(__FILE__, __LINE__, what);
    EXPECT_EQ(fake_cublaslt().n_alive, 0);
  }
};

// A product of rows 3 .. 3 + n_out - 1 of a weight: its relative error against float64.
double error_of_product(test::CudaDevice& device, DType type, int64_t n_in, int64_t n_out,
                        int64_t cols, bool with_bias) {
  const Format& format = format_of(type);
  const Floats plain = test::normal_values((n_out + 3) * cols, 1, 0.5f);
  std::vector<std::byte> bytes(*encoded_bytes(format, plain.size()));
  encode(format, plain.data(), bytes.data(), plain.size());
  Floats weights(plain.size());
  decode(format, bytes.data(), weights.data(), plain.size());
  const auto weight = device.backend->load_weight({type, n_out + 3, cols, bytes, nullptr});
  const Floats in = test::normal_values(n_in * cols, 2), bias = test::normal_values(n_out, 3);
  // Behind a row of something else, so that its address is a multiple of little.
  const Matrix out{device.poisoned(n_in + 1, n_out).data + n_out, n_in, n_out};
  const Product one{{*weight, 3, n_out}, with_bias ? device.vector(bias) : Vector{}, out};
  device.backend->linear({&one, 1}, device.matrix(n_in, in));
  Doubles expected;
  for (int64_t t = 0; t < n_in; ++t) {
    for (int64_t n = 0; n < n_out; ++n) {
      double sum = with_bias ? bias[static_cast<size_t>(n)] : 0;
      for (int64_t k = 0; k < cols; ++k)
        sum += double{in[static_cast<size_t>(t * cols + k)]} *
               weights[static_cast<size_t>((n + 3) * cols + k)];
      expected.push_back(sum);
    }
  }
  return test::relative_error(device.read(out), expected);
}

// What narrowing the input to 16 bits costs.
double tolerance(DType type) {
  return type == DType::kBF16 ? 3e-3 : 4e-4;
}

std::string feature() {
  const BackendProbe probe = probe_cuda();
  return probe.devices.at(0).features.back();
}

}  // namespace

TEST(many_rows_of_16_bit_weights_are_the_librarys_and_few_are_ours) {
  const Fresh fresh;
  test::CudaDevice device;
  for (const DType type : {DType::kF16, DType::kBF16}) {
    for (const bool with_bias : {false, true}) {
      for (const int64_t cols : {36, 40}) {
        const int before = fake_cublaslt().n_products;
        EXPECT(error_of_product(device, type, kMany, 13, cols, with_bias) < tolerance(type));
        EXPECT_EQ(fake_cublaslt().n_products, before + 1);
        EXPECT(error_of_product(device, type, kMany - 1, 13, cols, with_bias) < tolerance(type));
        EXPECT_EQ(fake_cublaslt().n_products, before + 1);
      }
    }
  }
}

TEST(weights_of_every_packing_are_decoded_for_it_when_the_rows_are_many) {
  const Fresh fresh;
  test::CudaDevice device;
  for (const DType type : {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
                           DType::kIQ4_NL, DType::kIQ4_XS}) {
    const int before = fake_cublaslt().n_products;
    EXPECT(error_of_product(device, type, kManyQuantized, 7, 256, true) < 4e-3);
    EXPECT_EQ(fake_cublaslt().n_products, before + 1);
    EXPECT(error_of_product(device, type, kManyQuantized - 1, 7, 256, false) < 2e-2);
    EXPECT_EQ(fake_cublaslt().n_products, before + 1);
  }
}

TEST(a_large_weight_is_decoded_in_pieces) {
  const Fresh fresh;
  test::CudaDevice device;
  EXPECT(error_of_product(device, DType::kQ8_0, kManyQuantized, 4099, 32, true) < 4e-3);
  EXPECT_EQ(fake_cublaslt().n_products, 2);
}

TEST(a_shape_is_looked_up_once) {
  const Fresh fresh;
  test::CudaDevice device;
  for (int i = 0; i < 3; ++i) error_of_product(device, DType::kF16, kMany, 8, 32, false);
  EXPECT_EQ(fake_cublaslt().n_products, 3);
  EXPECT_EQ(fake_cublaslt().n_searches, 1);
}

TEST(lengths_without_end_are_not_all_kept) {
  const Fresh fresh;
  test::CudaDevice device;
  int most = 0;
  for (int64_t rows = kMany; rows < kMany + 150; ++rows) {
    error_of_product(device, DType::kF16, rows, 1, 8, false);
    most = std::max(most, fake_cublaslt().n_alive);
  }
  EXPECT(most <= 1 + 4 * 128);
}

TEST(a_deterministic_backend_does_not_open_it) {
  const Fresh fresh;
  test::CudaDevice device(true);
  EXPECT_EQ(fake_cublaslt().n_alive, 0);
  EXPECT(error_of_product(device, DType::kF16, kMany, 5, 32, false) < tolerance(DType::kF16));
  EXPECT_EQ(fake_cublaslt().n_products, 0);
}

TEST(where_it_has_no_way_our_own_kernel_multiplies) {
  const Fresh fresh;
  fake_cublaslt().has_a_way = false;
  test::CudaDevice device;
  EXPECT(error_of_product(device, DType::kBF16, kMany, 9, 48, true) < tolerance(DType::kBF16));
  EXPECT(error_of_product(device, DType::kQ8_0, kManyQuantized, 9, 64, true) < 2e-2);
  EXPECT_EQ(fake_cublaslt().n_searches, 2);
  EXPECT_EQ(fake_cublaslt().n_products, 0);
}

TEST(a_product_that_it_refuses_is_ours_and_it_is_not_asked_for_such_again) {
  for (const int status : {3, 7, 8, 15}) {
    const Fresh fresh;
    test::CudaDevice device;
    fake_cublaslt().status = status;
    EXPECT(error_of_product(device, DType::kBF16, kMany, 9, 48, true) < tolerance(DType::kBF16));
    EXPECT(error_of_product(device, DType::kQ8_0, kManyQuantized, 9, 64, true) < 2e-2);
    fake_cublaslt().status = 0;
    EXPECT(error_of_product(device, DType::kBF16, kMany, 9, 48, true) < tolerance(DType::kBF16));
    EXPECT_EQ(fake_cublaslt().n_products, 0);
    EXPECT(error_of_product(device, DType::kBF16, kMany, 11, 48, true) < tolerance(DType::kBF16));
    EXPECT_EQ(fake_cublaslt().n_products, 1);
  }
}

TEST(a_product_that_fails_there_is_an_error_of_the_device) {
  const Fresh fresh;
  test::CudaDevice device;
  fake_cublaslt().status = 13;  // CUBLAS_STATUS_EXECUTION_FAILED
  const std::string text =
      EXPECT_ERROR(kDevice, { error_of_product(device, DType::kF16, kMany, 9, 48, true); });
  EXPECT(test::contains(text, "cuBLASLt: multiplying: status 13"));
  EXPECT_ERROR(kDevice, { device.backend->sync(); });  // the backend is lost
}

TEST(doctor_names_it_or_says_why_there_is_none) {
  {
    const Fresh fresh;
    EXPECT_EQ(feature(), std::string("cuBLASLt 13.1.2"));
  }
  {
    const Fresh fresh("off");
    EXPECT_EQ(feature(), std::string("no cuBLASLt: REALM_CUBLASLT is off"));
  }
  EXPECT_EQ(feature(), std::string("no cuBLASLt: this device has no library of its own"));
}

TEST(a_backend_names_the_library_that_it_uses_and_refuses_a_named_one_that_does_not_open) {
  const Fresh fresh;
  EXPECT(test::contains(make_cuda_backend(0, false)->description(), "cuBLASLt 13.1.2"));
  EXPECT(!test::contains(make_cuda_backend(0, true)->description(), "cuBLASLt"));
  fake_cublaslt().opens = false;
  const std::string text = EXPECT_ERROR(kDevice, { make_cuda_backend(0, false); });
  EXPECT(test::contains(text, "cuBLASLt 13.1.2 does not open on this device: status 1"));
}

TEST(a_file_that_is_named_and_is_none_is_refused_by_name) {
  for (const char* file : {"/no/such/library.so", "libm.so.6"}) {
    const Fresh fresh(file);
    const std::string text = EXPECT_ERROR(kDevice, { make_cuda_backend(0, false); });
    EXPECT(test::contains(text, "REALM_CUBLASLT") && test::contains(text, file));
    EXPECT(test::contains(feature(), "no cuBLASLt: "));
  }
}
