#include <cmath>
#include <cstdio>
#include <fstream>

#include "base/checked_math.h"
#include "base/file.h"
#include "base/half.h"
#include "cpp/harness.h"

using namespace realm;
using test::contains;

TEST(sums_and_products_never_wrap) {
  EXPECT(!checked_add(UINT64_MAX, 1));
  EXPECT_EQ(*checked_add(UINT64_MAX - 1, 1), UINT64_MAX);
  EXPECT(!checked_mul(uint64_t{1} << 32, uint64_t{1} << 32));
  EXPECT_EQ(*checked_mul(0, UINT64_MAX), 0u);
  EXPECT(!checked_align_up(UINT64_MAX - 3, 32));
  EXPECT_EQ(*checked_align_up(33, 32), 64u);
  EXPECT(range_fits(10, 0, 10));
  EXPECT(!range_fits(11, 0, 10));
  EXPECT(!range_fits(8, UINT64_MAX - 4, 10));
}

TEST(every_f16_survives_a_round_trip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float wide = f16_to_f32(half);
    const bool is_nan = (bits & 0x7fff) > 0x7c00;
    EXPECT_EQ(std::isnan(wide), is_nan);
    if (!is_nan) EXPECT_EQ(f32_to_f16(wide), half);
  }
}

TEST(f16_rounds_to_nearest_even) {
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f), 0x3c00);             // tie to even: down
  EXPECT_EQ(f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);         // tie to even: up
  EXPECT_EQ(f32_to_f16(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);  // above the tie
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);  // half of the smallest subnormal
  EXPECT_EQ(f32_to_f16(-0x1.8p-25f), 0x8001);
  EXPECT_EQ(f32_to_f16(-INFINITY), 0xfc00);
}

TEST(bf16_rounds_to_nearest_even_and_keeps_nan) {
  EXPECT_EQ(f32_to_bf16(bits_float(0x3f808000)), 0x3f80);
  EXPECT_EQ(f32_to_bf16(bits_float(0x3f818000)), 0x3f82);
  EXPECT_EQ(f32_to_bf16(bits_float(0x7f7fffff)), 0x7f80);
  EXPECT(std::isnan(bf16_to_f32(f32_to_bf16(bits_float(0x7f800001)))));
}

TEST(a_file_that_shrinks_is_an_error_with_the_position) {
  const std::string path = "base_test_shrinks.bin";
  std::ofstream(path) << "0123456789";
  const File file(path);
  std::ofstream(path, std::ios::trunc) << "0123";
  std::byte out[10];
  const auto message = EXPECT_ERROR(kFormat, { file.read_at(0, out); });
  EXPECT(contains(message, "ends at byte 4"));
  std::remove(path.c_str());
}

TEST(a_missing_file_and_a_directory_are_refused) {
  EXPECT(contains(EXPECT_ERROR(kIo, { File("no such file"); }), "no such file"));
  EXPECT(contains(EXPECT_ERROR(kFormat, { File("."); }), "not a regular file"));
}

TEST(quoted_text_is_bounded_and_harmless) {
  EXPECT_EQ(quoted("a\x1b[2J"), "'a\\x1b[2J'");
  EXPECT_EQ(quoted("abcdef", 3), "'abc'...");
  EXPECT_EQ(human_bytes(1536), "1.50 KiB");
}
