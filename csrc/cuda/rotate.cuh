// Rotation of heads, in one text for the kernels that rotate in place and those that store what is
// rotated.
#pragma once

#include "cuda/device/language.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

struct Rotated {
  float a, b;
};

REALM_DEVICE Rotated rotate_pair(float a, float b, float cos, float sin) {
  return {fmaf(a, cos, -(b * sin)), fmaf(b, cos, a * sin)};
}

// One pair of a head in place; cos and sin are the row's.
REALM_DEVICE void rotate_in_place(float* head, int64_t pair, const RotationAngles& angles,
                                  int64_t row) {
  float* a = head + (angles.interleaved ? 2 * pair : pair);
  float* b = a + (angles.interleaved ? 1 : angles.half);
  const int64_t at = row * angles.half + pair;
  const Rotated turned = rotate_pair(*a, *b, angles.cos[at], angles.sin[at]);
  *a = turned.a;
  *b = turned.b;
}

// Element d of a rotated head.
REALM_DEVICE float rotated_element(const float* head, int d, const RotationAngles& angles,
                                   int64_t row) {
  const int half = static_cast<int>(angles.half);
  if (d >= 2 * half) return head[d];
  const int pair = angles.interleaved ? d / 2 : d % half;
  const bool is_second = angles.interleaved ? d % 2 == 1 : d >= half;
  const float* a = head + (angles.interleaved ? 2 * pair : pair);
  const float* b = a + (angles.interleaved ? 1 : half);
  const int64_t at = row * angles.half + pair;
  const Rotated turned = rotate_pair(*a, *b, angles.cos[at], angles.sin[at]);
  return is_second ? turned.b : turned.a;
}

}  // namespace realm::cuda
