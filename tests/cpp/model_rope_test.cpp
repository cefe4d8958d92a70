// Rotary angles: our sine and cosine, and the frequencies of each kind of scaling, against plain
// double precision.
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

#include "base/trig.h"
#include "cpp/harness.h"
#include "model/rope.h"

using namespace realm;

namespace {

struct Angles {
  std::vector<float> cos, sin;
};

// Of one token at `position` in a sequence that may reach `planned` tokens.
Angles angles_at(const RopePlanner& planner, int32_t position, int32_t planned = 1) {
  const auto half = static_cast<size_t>(planner.half());
  Angles angles{std::vector<float>(half), std::vector<float>(half)};
  planner.plan({&position, 1}, {&planned, 1}, angles.cos.data(), angles.sin.data());
  return angles;
}

// Whether pair `i` turns by `frequency` radians a token, and is as long as `magnitude`.
bool turns_by(const Angles& angles, size_t i, int32_t position, double frequency,
              double magnitude = 1) {
  // A frequency in f32 is off by 2^-24, and so is the product.
  const double tolerance = 1e-6 + 2e-7 * position * frequency;
  const double angle = position * frequency;
  return test::near(angles.cos[i], magnitude * std::cos(angle), tolerance) &&
         test::near(angles.sin[i], magnitude * std::sin(angle), tolerance);
}

double frequency_of(double base, size_t pair, double width) {
  return std::pow(base, -2.0 * static_cast<double>(pair) / width);
}

RopeConfig config_of(RopeConfig::Scaling scaling) {
  RopeConfig config;
  config.width = 16;
  config.scaling = scaling;
  config.factor = 4;
  config.original_context = 64;
  config.trained_context = 256;
  return config;
}

}  // namespace

TEST(sine_and_cosine_match_the_library) {
  std::mt19937 random(1);
  for (const double range : {1.0, 100.0, 1e6, 1e9}) {
    std::uniform_real_distribution<double> number(-range, range);
    for (int i = 0; i < 2000; ++i) {
      const double x = number(random);
      const SinCos turn = sin_cos(x);
      EXPECT(test::near(turn.sin, std::sin(x), 2e-15));
      EXPECT(test::near(turn.cos, std::cos(x), 2e-15));
    }
  }
}

TEST(angles_that_are_none_stay_none) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double x : {kInfinity, -kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT(std::isnan(sin_cos(x).sin));
    EXPECT(std::isnan(sin_cos(x).cos));
  }
}

TEST(unscaled_pairs_turn_at_powers_of_the_base) {
  const RopePlanner planner(config_of(RopeConfig::Scaling::kNone), 10000, {});
  EXPECT_EQ(planner.half(), 8);
  for (const int32_t position : {0, 1, 63, 4000}) {
    const Angles angles = angles_at(planner, position);
    for (size_t i = 0; i < 8; ++i) EXPECT(turns_by(angles, i, position, frequency_of(1e4, i, 16)));
  }
}

TEST(linear_scaling_slows_every_pair) {
  const RopePlanner planner(config_of(RopeConfig::Scaling::kLinear), 10000, {});
  const Angles angles = angles_at(planner, 100);
  for (size_t i = 0; i < 8; ++i) EXPECT(turns_by(angles, i, 100, frequency_of(1e4, i, 16) / 4));
}

TEST(factors_of_a_file_divide_every_pair) {
  const std::vector<float> divisors{1, 1, 1.5f, 2, 4, 8, 8, 8};
  const RopePlanner planner(config_of(RopeConfig::Scaling::kNone), 10000, {divisors, {}, {}});
  const Angles angles = angles_at(planner, 100);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT(turns_by(angles, i, 100, frequency_of(1e4, i, 16) / static_cast<double>(divisors[i])));
  }
}

TEST(yarn_keeps_fast_pairs_and_slows_slow_ones) {
  const RopePlanner planner(config_of(RopeConfig::Scaling::kYarn), 10000, {});
  const Angles angles = angles_at(planner, 100);
  const double magnitude = 1 + 0.1 * std::log(4.0);
  // 64 / (2 pi) turns lie at pair 2.02 of 8: the ramp goes from 0 to 3.
  const auto blended = [](size_t i) {
    const double slow = std::min(1.0, static_cast<double>(i) / 3.0);
    return frequency_of(1e4, i, 16) * (slow / 4 + (1 - slow));
  };
  for (size_t i = 0; i < 8; ++i) EXPECT(turns_by(angles, i, 100, blended(i), magnitude));
}

TEST(a_declared_magnitude_replaces_that_of_yarn) {
  RopeConfig config = config_of(RopeConfig::Scaling::kYarn);
  config.yarn_attention_factor = 1.25f;
  EXPECT_EQ(angles_at(RopePlanner(config, 10000, {}), 0).cos[0], 1.25f);
  config.attention_factor = 2;
  EXPECT_EQ(angles_at(RopePlanner(config, 10000, {}), 0).cos[0], 2.5f);
}

TEST(the_planned_length_alone_chooses_between_short_and_long_factors) {
  RopeConfig config = config_of(RopeConfig::Scaling::kLongRope);
  const std::vector<float> shorter(8, 2.0f), longer(8, 4.0f);
  const RopePlanner planner(config, 10000, {{}, shorter, longer});
  const double magnitude = std::sqrt(1 + std::log(4.0) / std::log(64.0));
  for (const int32_t position : {0, 10, 63}) {
    const Angles below = angles_at(planner, position, 64), above = angles_at(planner, position, 65);
    for (size_t i = 0; i < 8; ++i) {
      const double frequency = frequency_of(1e4, i, 16);
      EXPECT(turns_by(below, i, position, frequency / 2, magnitude));
      EXPECT(turns_by(above, i, position, frequency / 4, magnitude));
    }
  }
  config.attention_factor = 1.5f;
  EXPECT_EQ(angles_at(RopePlanner(config, 10000, {{}, shorter, longer}), 0).cos[0], 1.5f);
}
