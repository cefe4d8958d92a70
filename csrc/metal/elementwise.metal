// Ops whose elements or rows stand alone. One thread an element (a pair, in rotate), f32; exp and
// tanh are the device's own. Bytes moved: each operand once.
#include "metal/device/language.h"

static inline float activated(Activation kind, float x) {
  if (kind == Activation::kSilu) return x / (1.0f + exp(-x));
  const float inner = 0.7978845608f * fma(0.044715f * x * x, x, x);
  return 0.5f * x * (1.0f + tanh(inner));
}

kernel void add_kernel(device float* x [[buffer(0)]], device const float* y [[buffer(1)]],
                       constant AddParams& p [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  if (i < p.n) x[i] = fma(y[i], p.scale, x[i]);
}

kernel void scale_kernel(device float* x [[buffer(0)]], constant ScaleParams& p [[buffer(1)]],
                         uint i [[thread_position_in_grid]]) {
  if (i < p.n) x[i] *= p.factor;
}

kernel void softcap_kernel(device float* x [[buffer(0)]], constant SoftcapParams& p [[buffer(1)]],
                           uint i [[thread_position_in_grid]]) {
  if (i < p.n) x[i] = p.cap * tanh(x[i] / p.cap);
}

kernel void activate_kernel(device float* x [[buffer(0)]], constant ActivateParams& p [[buffer(1)]],
                            uint i [[thread_position_in_grid]]) {
  if (i < p.n) x[i] = activated(p.kind, x[i]);
}

kernel void gate_kernel(device const float* gate [[buffer(0)]],
                        device const float* up [[buffer(1)]], device float* out [[buffer(2)]],
                        constant ActivateParams& p [[buffer(3)]],
                        uint i [[thread_position_in_grid]]) {
  if (i < p.n) out[i] = activated(p.kind, gate[i]) * up[i];
}

kernel void scale_by_sigmoid_kernel(device float* x [[buffer(0)]],
                                    device const float* logits [[buffer(1)]],
                                    constant RowsParams& p [[buffer(2)]],
                                    uint i [[thread_position_in_grid]]) {
  if (i < p.n) x[i] *= 1.0f / (1.0f + exp(-logits[i / p.n_cols]));
}

kernel void gather_kernel(device const float* in [[buffer(0)]],
                          device const int* rows [[buffer(1)]], device float* out [[buffer(2)]],
                          constant RowsParams& p [[buffer(3)]],
                          uint i [[thread_position_in_grid]]) {
  if (i < p.n) out[i] = in[rows[i / p.n_cols] * p.n_cols + i % p.n_cols];
}

kernel void rotate_kernel(device float* x [[buffer(0)]], device const float* cosines [[buffer(1)]],
                          device const float* sines [[buffer(2)]],
                          constant RotateParams& p [[buffer(3)]],
                          uint i [[thread_position_in_grid]]) {
  if (i >= p.n) return;
  const long pair = i % p.n_pairs, head = i / p.n_pairs, row = head / p.n_heads;
  device float* a = x + head * p.head_width + (p.interleaved ? 2 * pair : pair);
  device float* b = a + (p.interleaved ? 1 : p.n_pairs);
  const float c = cosines[row * p.n_pairs + pair], s = sines[row * p.n_pairs + pair];
  const float a0 = *a, b0 = *b;
  *a = fma(a0, c, -(b0 * s));
  *b = fma(b0, c, a0 * s);
}
