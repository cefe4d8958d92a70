// Sine and cosine in double precision from basic operations only, so that rotary angles have the
// same bits with every C library and compiler. Accurate to about 1e-15 for |x| up to 2^30; NaN and
// infinity give NaN.
#pragma once

#include <cmath>

namespace realm {

struct SinCos {
  double sin, cos;
};

inline SinCos sin_cos(double x) {
  constexpr double kMagic = 0x1.8p52;  // adding it rounds to an integer
  const double quarter_turns = (x * 0x1.45f306dc9c883p-1 + kMagic) - kMagic;
  // Pi / 2 in three parts; each product is exact inside its FMA.
  double r = std::fma(-quarter_turns, 0x1.921fb54442d18p0, x);
  r = std::fma(-quarter_turns, 0x1.1a62633145c07p-54, r);
  r = std::fma(-quarter_turns, -0x1.f1976b7ed8fbcp-110, r);

  const double z = r * r;
  double s = 1.58969099521155010221e-10;  // the minimax polynomials of fdlibm
  s = std::fma(s, z, -2.50507602534068634195e-08);
  s = std::fma(s, z, 2.75573137070700676789e-06);
  s = std::fma(s, z, -1.98412698298579493134e-04);
  s = std::fma(s, z, 8.33333333332248946124e-03);
  s = std::fma(s, z, -1.66666666666666324348e-01);
  const double sine = std::fma(s * z, r, r);
  double c = -1.13596475577881948265e-11;
  c = std::fma(c, z, 2.08757232129817482790e-09);
  c = std::fma(c, z, -2.75573143513906633035e-07);
  c = std::fma(c, z, 2.48015872894767294178e-05);
  c = std::fma(c, z, -1.38888888888741095749e-03);
  c = std::fma(c, z, 4.16666666666666019037e-02);
  const double cosine = std::fma(c * z, z, std::fma(z, -0.5, 1.0));

  const double turns = quarter_turns * 0.25;
  const double quadrant =
      (turns - std::floor(turns)) * 4;  // 0, 1, 2 or 3; NaN takes the last branch
  if (quadrant == 0) return {sine, cosine};
  if (quadrant == 1) return {cosine, -sine};
  if (quadrant == 2) return {-sine, -cosine};
  return {-cosine, sine};
}

}  // namespace realm
