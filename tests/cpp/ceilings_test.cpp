// The ceilings are those of this machine: above what any real work reaches, and no more than its
// ports allow.
#include <limits>

#include "backend/registry.h"
#include "base/cpu_features.h"
#include "cpp/harness.h"
#include "cpu/peak_loops.h"

using namespace realm;

namespace {

// Multiply-accumulates that a core of any processor of this level could do in a clock.
double most_per_clock(CpuLevel level) {
  switch (level) {
    case CpuLevel::kAmx:
      return 2 * 16 * 64;
    case CpuLevel::kAvx512Vnni:
      return 4 * 64;
    case CpuLevel::kAvx512:
      return 2 * 64;
    default:
      return 4 * 32;
  }
}

}  // namespace

TEST(every_level_counts_the_products_it_makes) {
  for (const CpuLevel level : supported_cpu_levels()) {
    const cpu::PeakLoops loops = cpu::peak_loops(level);
    for (const auto loop : {loops.multiply_i8, loops.multiply_f32}) {
      EXPECT(loop(1) > 0);
      EXPECT_EQ(loop(1000), 1000 * loop(1));
    }
  }
}

TEST(ceilings_are_within_what_ports_allow) {
  const Ceilings found = measure_cpu_ceilings(1, 0.05);
  EXPECT_EQ(found.n_threads, 1);
  EXPECT_EQ(found.level, std::string(cpu_level_name(active_cpu_level())));
  EXPECT(found.clock_hz > 1e8 && found.clock_hz < 1e10);
  EXPECT(found.read_bytes_per_s > 1e8 && found.read_bytes_per_s < 1e12);
  // The clock may be read in a slower moment than the products: a factor of two for that.
  const double per_clock = found.int8_macs_per_s / found.clock_hz;
  EXPECT(per_clock > 0 && per_clock < 2 * most_per_clock(active_cpu_level()));
  EXPECT(found.f32_macs_per_s > 0 && found.f32_macs_per_s < found.int8_macs_per_s * 4);
}

TEST(a_measurement_has_bounds_and_can_be_cancelled) {
  for (const double seconds : {0.0, -1.0, 61.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_ERROR(kInvalidRequest, { measure_cpu_ceilings(1, seconds); });
  }
  EXPECT_ERROR(kInvalidRequest, { measure_cpu_ceilings(100000, 0.05); });
  const std::atomic<bool> cancel{true};
  EXPECT_ERROR(kCancelled, { measure_cpu_ceilings(1, 0.05, &cancel); });
}
