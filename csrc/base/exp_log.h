// Natural logarithm and exponential in double precision from additions, multiplications and one
// division each, so that what is sampled has the same bits with every C library and compiler. Both
// are within 1 unit in the last place over the ranges that matter (tests/cpp/counter_rng_test.cpp
// measures them); std::fma is avoided because without hardware flags it is a library call. The
// minimax polynomials are those of fdlibm.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace realm {

// ln x for a positive, normal, finite x: what the inner loops have. Anything else gives garbage.
constexpr double log_of_normal(double x) {
  // x = 2^k * m with m in [sqrt(1/2), sqrt(2)): adding the offset carries into the exponent above
  // sqrt(2).
  constexpr uint64_t kOne = 0x3ff0000000000000, kRootHalf = 0x3fe6a09e00000000;
  const uint64_t shifted = std::bit_cast<uint64_t>(x) + (kOne - kRootHalf);
  const double k = static_cast<double>(static_cast<int>(shifted >> 52) - 1023);
  const double f = std::bit_cast<double>((shifted & 0x000fffffffffffff) + kRootHalf) - 1.0;

  // ln(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)) with s = f / (2 + f).
  const double half_square = 0.5 * f * f;
  const double s = f / (2.0 + f);
  const double z = s * s, w = z * z;
  const double odd = w * (3.999999999940941908e-01 +
                          w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const double even = z * (6.666666666666735130e-01 +
                           w * (2.857142874366239149e-01 +
                                w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  constexpr double kLn2Hi = 6.93147180369123816490e-01, kLn2Lo = 1.90821492927058770002e-10;
  return s * (half_square + (odd + even)) + k * kLn2Lo - half_square + f + k * kLn2Hi;
}

// ln x: -infinity at 0, NaN below, infinity and NaN as they are.
constexpr double portable_log(double x) {
  constexpr double kSmallestNormal = 0x1p-1022, kInfinity = std::numeric_limits<double>::infinity();
  if (x >= kSmallestNormal && x < kInfinity) return log_of_normal(x);
  if (x > 0 && x < kInfinity) return log_of_normal(x * 0x1p54) - 54 * 0x1.62e42fefa39efp-1;
  if (x == 0) return -kInfinity;
  return x > 0 ? x : std::numeric_limits<double>::quiet_NaN();
}

// e^x; 0 below -708 (where the result would leave the normal numbers), infinity above 709.
constexpr double portable_exp(double x) {
  if (x < -708.0) return 0.0;
  if (x > 709.0) return std::numeric_limits<double>::infinity();
  if (x != x) return x;
  constexpr double kMagic = 0x1.8p52;  // adding it rounds to an integer, kept in the low bits
  const double shifted = x * 0x1.71547652b82fep0 + kMagic;
  const double n = shifted - kMagic;
  const double hi = x - n * 6.93147180369123816490e-01;  // exact: the constant has 32 bits
  const double lo = n * 1.90821492927058770002e-10;
  const double r = hi - lo;
  const double z = r * r;
  const double c =
      r - z * (1.66666666666666019037e-01 +
               z * (-2.77777777770155933842e-03 +
                    z * (6.61375632143793436117e-05 +
                         z * (-1.65339022054652515390e-06 + z * 4.13813679705723846039e-08))));
  const double mantissa = 1.0 + (r * c / (2.0 - c) - lo + hi);
  return mantissa * std::bit_cast<double>((std::bit_cast<uint64_t>(shifted) + 1023) << 52);
}

}  // namespace realm
