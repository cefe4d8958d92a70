// A product's input in the form its kernel takes, once per input whatever the number of products.
//
// quantize: groups of 32 to int8, as Q8_0 does but with an f32 scale: the largest magnitude over
// 127, quants to nearest, and beside the scale its product with the sum of the quants, which the
// formats with minimums need. A warp a group. A group of zeros has scale 0; NaN and infinities make
// the group's scale NaN, so that they reach the output. Bytes moved: 4 in, 1.25 out a value.
//
// narrow: 16-bit floats. Halves are scaled by a power of two per row, so that no magnitude
// overflows and small rows keep their digits: the largest lies in [2^13, 2^14). A block a row.
#include "cuda/quantize_group.cuh"

namespace realm::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

__global__ void quantize_kernel(const float* in, QuantizedRows out, int64_t n_groups) {
  const int64_t group = int64_t{blockIdx.x} * kWarps + warp_index();
  if (group >= n_groups) return;
  quantize_group(in[group * kWarp + lane_index()], group, out);
}

// 2^e with |largest| * 2^-e in [2^13, 2^14); 1 for zero, infinity and NaN.
REALM_DEVICE float row_factor(float largest) {
  const int exponent = static_cast<int>(float_as_bits(largest) >> 23) - 127;
  if (exponent <= -127 || exponent >= 128) return 1.0f;
  const int power = exponent - 13 < -100 ? -100 : exponent - 13;
  return bits_as_float(static_cast<uint32_t>(power + 127) << 23);
}

template <class Format, bool kScaled>
__global__ void narrow_kernel(const float* in, NarrowRows out, int64_t n_cols) {
  REALM_SHARED(float, parts, kWarps);
  const float* x = in + blockIdx.x * n_cols;
  uint16_t* y = out.values + blockIdx.x * out.stride;
  float factor = 1.0f;
  if (kScaled) {
    float largest = 0;
    for (int64_t i = threadIdx.x; i < n_cols; i += kThreads) largest = fmaxf(largest, fabsf(x[i]));
    largest = warp_max(largest);
    if (lane_index() == 0) parts[warp_index()] = largest;
    __syncthreads();
    for (int i = 0; i < kWarps; ++i) largest = fmaxf(largest, parts[i]);
    factor = row_factor(largest);
  }
  const float inverse = 1.0f / factor;
  for (int64_t i = threadIdx.x; i < out.stride; i += kThreads) {
    y[i] = i < n_cols ? Format::narrow(x[i] * inverse) : uint16_t{0};
  }
  if (threadIdx.x == 0) out.factors[blockIdx.x] = factor;
}

}  // namespace

void launch_quantize(const float* in, QuantizedRows out, int64_t n_rows, int64_t n_cols,
                     Stream stream) {
  const int64_t n_groups = n_rows * n_cols / kWarp;
  const dim3 grid(static_cast<unsigned>(div_up<int64_t>(n_groups, kWarps)));
  REALM_LAUNCH(quantize_kernel, grid, dim3(kThreads), 0, stream, in, out, n_groups);
}

void launch_narrow(const float* in, NarrowRows out, bool brain, int64_t n_rows, int64_t n_cols,
                   Stream stream) {
  const dim3 grid(static_cast<unsigned>(n_rows));
  if (brain) {
    REALM_LAUNCH((narrow_kernel<BrainFormat, false>), grid, dim3(kThreads), 0, stream, in, out,
                 n_cols);
  } else {
    REALM_LAUNCH((narrow_kernel<HalfFormat, true>), grid, dim3(kThreads), 0, stream, in, out,
                 n_cols);
  }
}

}  // namespace realm::cuda
