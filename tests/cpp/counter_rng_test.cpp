// The counter generator against its published vectors, our logarithm and exponential against the C
// library's in long double, and the noise of tokens: its law, its keys, and its bits.
#include "base/counter_rng.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/exp_log.h"
#include "base/text.h"
#include "cpp/harness.h"

using namespace realm;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLargestUniform = 1 - 0x1p-53;

// In units of the last place of the true value.
double ulps(double value, long double truth) {
  const double rounded = std::abs(static_cast<double>(truth));
  const double unit = std::nextafter(rounded, kInfinity) - rounded;
  return static_cast<double>(std::abs(value - truth)) / unit;
}

// FNV-1a over the bits of doubles: one number that stands for them all.
uint64_t fingerprint(uint64_t hash, double value) {
  return (hash ^ std::bit_cast<uint64_t>(value)) * 0x100000001b3;
}

struct Moments {
  double mean = 0, variance = 0;
};

template <class Next>
Moments moments_of(int n, Next next) {
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double value = next(i);
    sum += value;
    squares += value * value;
  }
  return {sum / n, squares / n - sum / n * (sum / n)};
}

}  // namespace

TEST(philox_gives_the_published_blocks) {
  EXPECT(philox4x32({0, 0, 0, 0}, 0) ==
         (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT(philox4x32({~0u, ~0u, ~0u, ~0u}, ~uint64_t{0}) ==
         (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822) ==
         (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(log_is_within_one_unit_in_the_last_place) {
  std::mt19937_64 generator(1);
  std::uniform_real_distribution<double> unit(0.0, 1.0), exponent(-300.0, 300.0);
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    for (const double x : {unit(generator), 1 - unit(generator) * 0x1p-20,
                           1 + unit(generator) * 0x1p-20, std::exp2(exponent(generator))}) {
      if (x > 0)
        worst = std::max(worst, ulps(portable_log(x), std::log(static_cast<long double>(x))));
    }
  }
  EXPECT(worst < 1.0);
}

TEST(exp_is_within_one_unit_in_the_last_place) {
  std::mt19937_64 generator(2);
  std::uniform_real_distribution<double> wide(-707.0, 708.0), narrow(-1.0, 1.0);
  double worst = 0;
  for (int i = 0; i < 400000; ++i) {
    for (const double x : {wide(generator), narrow(generator)}) {
      worst = std::max(worst, ulps(portable_exp(x), std::exp(static_cast<long double>(x))));
    }
  }
  EXPECT(worst < 1.0);
}

TEST(log_and_exp_keep_the_ends) {
  EXPECT_EQ(portable_log(1.0), 0.0);
  EXPECT_EQ(portable_log(0.0), -kInfinity);
  EXPECT_EQ(portable_log(kInfinity), kInfinity);
  EXPECT(std::isnan(portable_log(-1.0)) && std::isnan(portable_log(std::nan(""))));
  EXPECT(test::near(portable_log(5e-324), -744.4400719213812, 1e-12));
  EXPECT_EQ(portable_exp(0.0), 1.0);
  EXPECT_EQ(portable_exp(-kInfinity), 0.0);
  EXPECT_EQ(portable_exp(-1e4), 0.0);
  EXPECT_EQ(portable_exp(kInfinity), kInfinity);
  EXPECT(std::isnan(portable_exp(std::nan(""))));
}

TEST(gumbel_is_finite_at_both_ends_of_the_uniform) {
  EXPECT(test::near(TokenNoise::gumbel_of(0x1p-53), -std::log(53 * std::log(2.0)), 1e-12));
  EXPECT(test::near(TokenNoise::gumbel_of(kLargestUniform), 53 * std::log(2.0), 1e-12));
}

TEST(fresh_seeds_differ) {
  EXPECT(fresh_seed() != fresh_seed());
}

TEST(noise_of_a_token_does_not_depend_on_which_others_are_asked) {
  std::vector<double> sweep;
  TokenNoise all(7, 3);
  for (int32_t token = 0; token < 1000; ++token) sweep.push_back(all.gumbel(token));
  std::mt19937 generator(3);
  TokenNoise some(7, 3);
  for (int i = 0; i < 1000; ++i) {
    const auto token = static_cast<int32_t>(generator() % 1000);
    EXPECT_EQ(some.gumbel(token), sweep[static_cast<size_t>(token)]);
    EXPECT_EQ(TokenNoise(7, 3).gumbel(token), sweep[static_cast<size_t>(token)]);
  }
}

TEST(every_part_of_the_key_changes_the_noise) {
  const double here = TokenNoise(7, 3).uniform(4);
  EXPECT(here != TokenNoise(8, 3).uniform(4));
  EXPECT(here != TokenNoise(7 + (uint64_t{1} << 32), 3).uniform(4));
  EXPECT(here != TokenNoise(7, 4).uniform(4));
  EXPECT(here != TokenNoise(7, 3 + (uint64_t{1} << 32)).uniform(4));
  EXPECT(here != TokenNoise(7, 3).uniform(5));
  EXPECT(here != TokenNoise(7, 3).uniform(6));
  for (const NoiseUse use : {NoiseUse::kDraft, NoiseUse::kAccept, NoiseUse::kResidual}) {
    EXPECT(here != TokenNoise(7, 3, use).uniform(4));
  }
}

TEST(uniform_noise_stays_inside_and_fills_the_unit_interval) {
  constexpr int kDraws = 1 << 20, kCells = 1024;
  std::vector<int> cells(kCells, 0);
  TokenNoise noise(11, 0);
  for (int32_t token = 0; token < kDraws; ++token) {
    const double u = noise.uniform(token);
    EXPECT(u > 0 && u < 1);
    ++cells[static_cast<size_t>(u * kCells)];
  }
  constexpr double kExpected = static_cast<double>(kDraws) / kCells;
  double chi_square = 0;
  for (const int n : cells) chi_square += (n - kExpected) * (n - kExpected) / kExpected;
  EXPECT(test::near(chi_square, kCells - 1, 4 * std::sqrt(2.0 * kCells)));
}

TEST(gumbel_noise_has_the_moments_of_its_law_along_tokens_positions_and_seeds) {
  constexpr int kDraws = 400000;
  constexpr double kEulerGamma = 0.5772156649015329, kVariance = 1.6449340668482264;
  TokenNoise row(5, 9);
  const Moments sides[] = {
      moments_of(kDraws, [&](int i) { return row.gumbel(i); }),
      moments_of(kDraws, [](int i) { return TokenNoise(5, static_cast<uint64_t>(i)).gumbel(9); }),
      moments_of(kDraws, [](int i) { return TokenNoise(static_cast<uint64_t>(i), 5).gumbel(9); }),
  };
  for (const Moments& m : sides) {
    EXPECT(test::near(m.mean, kEulerGamma, 4 * std::sqrt(kVariance / kDraws)));
    EXPECT(test::near(m.variance, kVariance, 0.03));
  }
}

TEST(neighbouring_noise_is_uncorrelated) {
  constexpr int kDraws = 400000;
  const auto correlation = [](auto first, auto second) {
    double sum = 0;
    for (int i = 0; i < kDraws; ++i) sum += (first(i) - 0.5) * (second(i) - 0.5) * 12;
    return sum / kDraws;
  };
  const auto at = [](uint64_t seed, uint64_t position, int32_t token) {
    return [=](int i) {
      return TokenNoise(seed, position + static_cast<uint64_t>(i) * 2).uniform(token);
    };
  };
  const double limit = 4 / std::sqrt(double{kDraws});
  EXPECT(test::near(correlation(at(1, 0, 8), at(1, 0, 9)), 0, limit));  // of one block
  EXPECT(test::near(correlation(at(1, 0, 9), at(1, 0, 10)), 0, limit));
  EXPECT(test::near(correlation(at(1, 0, 8), at(1, 1, 8)), 0, limit));
  EXPECT(test::near(correlation(at(1, 0, 8), at(2, 0, 8)), 0, limit));
  EXPECT(!test::near(correlation(at(1, 0, 8), at(1, 0, 8)), 0, limit));  // the measure itself
}

// A seed means the same text on every machine: the bits may never change.
TEST(noise_log_and_exp_have_the_recorded_bits) {
  uint64_t noise_bits = 0xcbf29ce484222325, exp_bits = noise_bits;
  TokenNoise noise(0x0123456789abcdef, 1000);
  for (int32_t token = 0; token < 100000; ++token) {
    noise_bits = fingerprint(noise_bits, noise.gumbel(token));
    exp_bits = fingerprint(exp_bits, portable_exp(-40 * noise.uniform(token)));
  }
  EXPECT_EQ(hex(noise_bits), std::string("0xcd1ef78ddbf6a951"));
  EXPECT_EQ(hex(exp_bits), std::string("0xa299bf130de27407"));
}
