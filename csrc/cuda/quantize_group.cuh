// A group of 32 values as integer products take it (quantize.cu), from the lanes of a warp. The one
// text of all kernels that quantize, so that fused ones give the same bits.
#pragma once

#include "cuda/device/numbers.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

REALM_DEVICE void quantize_group(float x, int64_t group, const QuantizedRows& out) {
  const float largest = warp_max(fabsf(x));
  const bool finite = ballot(!(fabsf(x) <= 3.4028235e38f)) == 0;
  const float scale = largest / 127.0f;
  const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
  const float q = finite ? round_to_int(x * inverse) : 0.0f;
  out.quants[group * kWarp + lane_index()] = static_cast<int8_t>(q);
  const float sum = warp_sum(q);  // of integers up to 4064: exact
  if (lane_index() != 0) return;
  const float nan = bits_as_float(0x7fc00000u);
  out.scales[2 * group] = finite ? scale : nan;
  out.scales[2 * group + 1] = finite ? scale * sum : nan;
}

}  // namespace realm::cuda
