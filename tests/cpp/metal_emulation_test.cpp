// The emulated Metal device itself: its words mean what Metal's mean, defects that a device would
// hide are found, and the shader source declares what the host's table binds.
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "cpp/harness.h"
#include "metal/emulation/invoke.h"
#include "metal/kernels.h"
// Last: it takes the words `device`, `thread` and `kernel` for itself.
#include <metal_stdlib>

using namespace realm;

namespace {

enum class Defect { kNone, kNoBarrier, kNoSimdBarrier, kDivergent };

// The sum of 128 values by four simdgroups and their partial sums: out[0].
template <Defect kDefect>
void sum_kernel(const float* in, float* out, unsigned thread_index, unsigned simd, unsigned lane) {
  float* parts = static_cast<float*>(simt::dynamic_shared());
  const float mine = ::metal::simd_sum(in[thread_index]);
  if (lane == 0) parts[simd] = mine;
  if (kDefect == Defect::kDivergent) {
    if (simd != 1) ::metal::threadgroup_barrier(::metal::mem_flags::mem_threadgroup);
  } else if (kDefect != Defect::kNoBarrier) {
    ::metal::threadgroup_barrier(::metal::mem_flags::mem_threadgroup);
  }
  if (thread_index == 0) out[0] = parts[0] + parts[1] + parts[2] + parts[3];
}

// c = a * b^T of 8 x 8 matrices whose rows are 12 apart, by way of threadgroup memory.
template <Defect kDefect>
void multiply_kernel(const float* a, const float* b, float* c, unsigned lane) {
  float* stage = static_cast<float*>(simt::dynamic_shared());
  for (int i = static_cast<int>(lane); i < 96; i += 32) {
    stage[i] = a[95 - i];
    stage[96 + i] = b[i];
  }
  if (kDefect != Defect::kNoSimdBarrier)
    ::metal::simdgroup_barrier(::metal::mem_flags::mem_threadgroup);
  ::metal::simdgroup_float8x8 x, y, sum = ::metal::make_filled_simdgroup_matrix<float, 8>(1.0f);
  ::metal::simdgroup_load(x, stage, 12, ulong2(2, 0));
  ::metal::simdgroup_load(y, stage + 96, 12, ulong2(0, 0), true);
  ::metal::simdgroup_multiply_accumulate(sum, x, y, sum);
  ::metal::simdgroup_store(sum, c, 8);
}

std::vector<float> random_values(size_t n) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

template <Defect kDefect>
double error_of_sum() {
  const std::vector<float> in = random_values(128);
  float out = NAN;
  simt::run({1, 1, 1}, {128, 1, 1}, 16, [&] {
    const auto i = static_cast<unsigned>(simt::self().linear);
    sum_kernel<kDefect>(in.data(), &out, i, i / 32, i % 32);
  });
  double expected = 0;
  for (const float value : in) expected += value;
  return std::abs(out - expected);
}

template <Defect kDefect>
double error_of_product() {
  const std::vector<float> a = random_values(96), b = random_values(200);
  std::vector<float> c(64, NAN);
  simt::run({1, 1, 1}, {32, 1, 1}, 2 * 96 * 4, [&] {
    multiply_kernel<kDefect>(a.data(), b.data(), c.data(),
                             static_cast<unsigned>(simt::self().linear));
  });
  double worst = 0;
  for (size_t row = 0; row < 8; ++row) {
    for (size_t col = 0; col < 8; ++col) {
      double sum = 1;
      for (size_t k = 0; k < 8; ++k) sum += double{a[95 - (row * 12 + k + 2)]} * b[col * 12 + k];
      const double error = std::abs(c[row * 8 + col] - sum);
      worst = error >= worst ? error : error != error ? INFINITY : worst;
    }
  }
  return worst;
}

struct Restore {  // of the settings that a test changes
  simt::Settings before = simt::settings();
  ~Restore() { simt::settings() = before; }
};

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

std::map<std::string, simt::Signature> declared() {
  std::map<std::string, simt::Signature> kernels;
  for (const simt::Signature& one : simt::declared_kernels(realm::metal::kKernelSource))
    kernels[one.name] = one;
  return kernels;
}

const realm::metal::KernelInfo& info(int i) {
  return realm::metal::kernel_info(static_cast<realm::metal::Kernel>(i));
}

constexpr int kCount = static_cast<int>(realm::metal::Kernel::kCount);

std::string problem(const std::string& source) {
  return simt::problem_of(simt::declared_kernels(source).at(0));
}

}  // namespace

TEST(kernels_without_a_defect_are_right_in_every_order_of_threads) {
  const Restore restore;
  for (unsigned seed = 0; seed < 8; ++seed) {
    simt::settings().seed = seed;
    EXPECT(error_of_sum<Defect::kNone>() < 1e-4);
    EXPECT(error_of_product<Defect::kNone>() < 1e-5);
  }
}

TEST(a_missing_barrier_gives_a_wrong_result) {
  if (kThreadSanitizer) return;  // which would fail this program for it
  EXPECT(!(error_of_sum<Defect::kNoBarrier>() < 1e-4));
  EXPECT(!(error_of_product<Defect::kNoSimdBarrier>() < 1e-5));
}

TEST(a_barrier_that_not_all_threads_reach_is_reported) {
  const std::string text = EXPECT_ERROR(kInternal, { error_of_sum<Defect::kDivergent>(); });
  EXPECT(test::contains(text, "deadlock") && test::contains(text, "waits at"));
  EXPECT(error_of_sum<Defect::kNone>() < 1e-4);  // the machine goes on
}

TEST(sums_before_a_lane_and_vectors_mean_what_metal_says) {
  std::vector<int> before(32);
  simt::run({1, 1, 1}, {32, 1, 1}, 0, [&] {
    before[static_cast<size_t>(simt::lane())] =
        ::metal::simd_prefix_exclusive_sum(simt::lane() + 1);
  });
  for (int i = 0; i < 32; ++i) EXPECT_EQ(before[static_cast<size_t>(i)], i * (i + 1) / 2);
  float4 v(1, 2, 3, 4);
  v = v * float4(2.0f) - float4(0, 0, 0, 1);
  EXPECT(v[0] == 2 && v[1] == 4 && v.z == 6 && v[3] == 7);
  EXPECT_EQ(float(half(1.0f / 3)), f16_to_f32(0x3555));
  EXPECT_EQ(as_type<uint>(1.0f), 0x3f800000u);
}

TEST(the_hosts_table_binds_what_the_shaders_declare) {
  const auto kernels = declared();
  std::set<std::string> named;
  for (int i = 0; i < kCount; ++i) {
    const auto found = kernels.find(info(i).name);
    EXPECT(found != kernels.end());
    if (found == kernels.end()) continue;
    named.insert(info(i).name);
    EXPECT_EQ(simt::bindings_of(found->second), std::string(info(i).bindings));
    bool shared = false, constants = false;
    for (const simt::Parameter& parameter : found->second.parameters) {
      shared = shared || parameter.ask == simt::Ask::kThreadgroup;
      constants = constants || parameter.type.starts_with("constant ");
    }
    EXPECT_EQ(shared, info(i).shared_bytes > 0);
    EXPECT_EQ(constants, info(i).constants_bytes > 0);
  }
  for (const auto& [name, signature] : kernels) {
    EXPECT_EQ(simt::problem_of(signature), std::string());
    EXPECT(named.contains(name));  // and nothing is declared that the host does not know
  }
}

TEST(every_kernel_of_the_source_is_compiled_under_its_own_name) {
  const auto kernels = declared();
  std::set<std::string> compiled;
  for (const simt::NamedKernel& one : simt::compiled_kernels()) compiled.insert(one.name);
  EXPECT_EQ(compiled.size(), simt::compiled_kernels().size());
  EXPECT_EQ(compiled.size(), kernels.size());
  for (const auto& [name, signature] : kernels) EXPECT(compiled.contains(name));
}

TEST(no_kernel_asks_for_more_threadgroup_memory_than_there_is) {
  for (int i = 0; i < kCount; ++i) {
    EXPECT(info(i).shared_bytes <= realm::metal::kThreadgroupBytes);
    EXPECT(info(i).threads % 32 == 0 && info(i).threads <= 1024);
  }
  const simt::Limits limits{realm::metal::kThreadgroupBytes, ~0u};
  EXPECT_ERROR(kInternal, { simt::run({1, 1, 1}, {32, 1, 1}, (32 << 10) + 1, [] {}, limits); });
  simt::run({1, 70000, 1}, {1, 1, 1}, 32 << 10, [] {}, limits);
}

TEST(a_declaration_that_metal_would_refuse_is_found) {
  const std::string head = "kernel void k(", tail = ") { x[i] = 0; }";
  const std::string index = ", uint i [[thread_position_in_grid]]";
  EXPECT_EQ(problem(head + "device float* x [[buffer(0)]]" + index + tail), std::string());
  EXPECT(test::contains(problem(head + "float* x [[buffer(0)]]" + index + tail), "address space"));
  EXPECT(test::contains(problem(head + "device float* x" + index + tail), "no attribute"));
  EXPECT(test::contains(problem(head + "device float* x [[buffer(1)]]" + index + tail), "gap"));
  EXPECT(test::contains(problem(head + "device float* x [[threadgroup(0)]]" + index + tail),
                        "is not in the memory"));
  EXPECT(test::contains(
      problem(head + "device float* x [[buffer(0)]], uint2 g [[threadgroup_position_in_grid]]" +
              index + tail),
      "dimension"));
  EXPECT_ERROR(kInternal, { simt::declared_kernels("kernel half_t nothing<float>;"); });
}
