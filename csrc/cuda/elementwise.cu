// Ops whose elements or rows stand alone. One thread an element (a pair, in rotate), f32, rounding
// as the CPU's but for exp and tanh, which are the device's own (2 units in the last place). Bytes
// moved: each operand once. Activations and gates may leave their output as integer products take
// it too, as quantize.cu would: a warp has a group.
#include "cuda/quantize_group.cuh"
#include "cuda/rotate.cuh"

namespace realm::cuda {

namespace {

constexpr int kThreads = 256;

dim3 blocks_for(int64_t n) {
  return dim3(static_cast<unsigned>(div_up<int64_t>(n, kThreads)));
}

REALM_DEVICE int64_t element_index() {
  return int64_t{blockIdx.x} * kThreads + threadIdx.x;
}

REALM_DEVICE float activated(Activation kind, float x) {
  if (kind == Activation::kSilu) return x / (1.0f + expf(-x));
  const float inner = 0.7978845608f * fmaf(0.044715f * x * x, x, x);
  return 0.5f * x * (1.0f + tanhf(inner));
}

__global__ void add_kernel(float* x, const float* y, float scale, int64_t n) {
  const int64_t i = element_index();
  if (i < n) x[i] = fmaf(y[i], scale, x[i]);
}

__global__ void scale_kernel(float* x, float factor, int64_t n) {
  const int64_t i = element_index();
  if (i < n) x[i] *= factor;
}

__global__ void softcap_kernel(float* x, float cap, int64_t n) {
  const int64_t i = element_index();
  if (i < n) x[i] = cap * tanhf(x[i] / cap);
}

template <bool kQuantize>
__global__ void activate_kernel(Activation kind, float* x, int64_t n, QuantizedRows quantized) {
  const int64_t i = element_index();
  if (i >= n) return;
  const float value = activated(kind, x[i]);
  x[i] = value;
  if (kQuantize) quantize_group(value, i / kWarp, quantized);
}

template <bool kQuantize>
__global__ void gate_kernel(Activation kind, const float* gate, const float* up, float* out,
                            int64_t n, QuantizedRows quantized) {
  const int64_t i = element_index();
  if (i >= n) return;
  const float value = activated(kind, gate[i]) * up[i];
  out[i] = value;
  if (kQuantize) quantize_group(value, i / kWarp, quantized);
}

__global__ void scale_by_sigmoid_kernel(float* x, const float* logits, int64_t n, int64_t n_cols) {
  const int64_t i = element_index();
  if (i < n) x[i] *= 1.0f / (1.0f + expf(-logits[i / n_cols]));
}

__global__ void gather_kernel(const float* in, const int32_t* rows, float* out, int64_t n,
                              int64_t n_cols) {
  const int64_t i = element_index();
  if (i < n) out[i] = in[rows[i / n_cols] * n_cols + i % n_cols];
}

__global__ void rotate_kernel(float* x, int64_t n, int64_t n_heads, int64_t head_width,
                              RotationAngles angles) {
  const int64_t i = element_index();
  if (i >= n) return;
  const int64_t head = i / angles.half;
  rotate_in_place(x + head * head_width, i % angles.half, angles, head / n_heads);
}

}  // namespace

void launch_add(float* x, const float* y, float scale, int64_t n, Stream stream) {
  REALM_LAUNCH(add_kernel, blocks_for(n), dim3(kThreads), 0, stream, x, y, scale, n);
}

void launch_scale(float* x, float factor, int64_t n, Stream stream) {
  REALM_LAUNCH(scale_kernel, blocks_for(n), dim3(kThreads), 0, stream, x, factor, n);
}

void launch_softcap(float* x, float cap, int64_t n, Stream stream) {
  REALM_LAUNCH(softcap_kernel, blocks_for(n), dim3(kThreads), 0, stream, x, cap, n);
}

void launch_activate(Activation kind, float* x, QuantizedRows quantized, int64_t n, Stream stream) {
  if (quantized.quants) {
    REALM_LAUNCH(activate_kernel<true>, blocks_for(n), dim3(kThreads), 0, stream, kind, x, n,
                 quantized);
  } else {
    REALM_LAUNCH(activate_kernel<false>, blocks_for(n), dim3(kThreads), 0, stream, kind, x, n,
                 quantized);
  }
}

void launch_gate(Activation kind, const float* gate, const float* up, float* out,
                 QuantizedRows quantized, int64_t n, Stream stream) {
  if (quantized.quants) {
    REALM_LAUNCH(gate_kernel<true>, blocks_for(n), dim3(kThreads), 0, stream, kind, gate, up, out,
                 n, quantized);
  } else {
    REALM_LAUNCH(gate_kernel<false>, blocks_for(n), dim3(kThreads), 0, stream, kind, gate, up, out,
                 n, quantized);
  }
}

void launch_scale_by_sigmoid(float* x, const float* logits, int64_t n_rows, int64_t n_cols,
                             Stream stream) {
  const int64_t n = n_rows * n_cols;
  REALM_LAUNCH(scale_by_sigmoid_kernel, blocks_for(n), dim3(kThreads), 0, stream, x, logits, n,
               n_cols);
}

void launch_gather(const float* in, const int32_t* rows, float* out, int64_t n_rows, int64_t n_cols,
                   Stream stream) {
  const int64_t n = n_rows * n_cols;
  REALM_LAUNCH(gather_kernel, blocks_for(n), dim3(kThreads), 0, stream, in, rows, out, n, n_cols);
}

void launch_rotate(float* x, int64_t n_rows, int64_t n_heads, int64_t head_width,
                   const RotationAngles& angles, Stream stream) {
  const int64_t n = n_rows * n_heads * angles.half;
  if (n == 0) return;
  REALM_LAUNCH(rotate_kernel, blocks_for(n), dim3(kThreads), 0, stream, x, n, n_heads, head_width,
               angles);
}

}  // namespace realm::cuda
