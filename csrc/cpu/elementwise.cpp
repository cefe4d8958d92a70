// Embedding, norms, activations, rotation and the other ops whose rows stand alone.
#include <cmath>
#include <cstring>

#include "cpu/row_loop.h"
#include "cpu/weight.h"

namespace realm::cpu {

void CpuBackend::run_embed(const Weight& table, std::span<const int32_t> tokens, float scale,
                           Matrix out) {
  for_each_row(out.rows, out.cols, [&](int64_t t) {
    float* row = out.data + t * out.cols;
    as_cpu(table).decode(kernels_, tokens[static_cast<size_t>(t)], 0, out.cols, row);
    if (scale != 1.0f) kernels_.scale(row, scale, out.cols);
  });
}

void CpuBackend::run_gather(Matrix in, std::span<const int32_t> rows, Matrix out) {
  for (int64_t i = 0; i < out.rows; ++i) {
    std::memcpy(out.data + i * out.cols, in.data + rows[static_cast<size_t>(i)] * in.cols,
                static_cast<size_t>(out.cols) * sizeof(float));
  }
}

void CpuBackend::run_norm(NormKind kind, Matrix in, Vector weight, Vector bias, float eps,
                          Matrix out) {
  for_each_row(in.rows, in.cols, [&](int64_t row) {
    const float* x = in.data + row * in.cols;
    float* y = out.data + row * in.cols;
    if (kind == NormKind::kRms) {
      kernels_.rms_norm(x, weight.data, eps, y, in.cols);
    } else {
      kernels_.layer_norm(x, weight.data, bias.data, eps, y, in.cols);
    }
  });
}

void CpuBackend::run_add(Matrix x, Matrix y, float scale) {
  for_each_row(x.rows, x.cols, [&](int64_t row) {
    kernels_.add_scaled(x.data + row * x.cols, y.data + row * x.cols, scale, x.cols);
  });
}

void CpuBackend::run_scale(Matrix x, float factor) {
  for_each_row(x.rows, x.cols,
               [&](int64_t row) { kernels_.scale(x.data + row * x.cols, factor, x.cols); });
}

void CpuBackend::run_softcap(Matrix x, float cap) {
  for_each_row(x.rows, x.cols,
               [&](int64_t row) { kernels_.softcap(x.data + row * x.cols, cap, x.cols); });
}

void CpuBackend::run_activate(Activation kind, Matrix x) {
  for_each_row(x.rows, x.cols,
               [&](int64_t row) { kernels_.activate(kind, x.data + row * x.cols, x.cols); });
}

void CpuBackend::run_gate(Activation kind, Matrix gate, Matrix up, Matrix out) {
  for_each_row(out.rows, out.cols, [&](int64_t row) {
    const int64_t at = row * out.cols;
    kernels_.gate(kind, gate.data + at, up.data + at, out.data + at, out.cols);
  });
}

void CpuBackend::run_scale_by_sigmoid(Matrix x, Matrix logits) {
  for_each_row(x.rows, x.cols, [&](int64_t row) {
    float pair[2] = {logits.data[row],
                     0.0f};  // the softmax of (l, 0) is (sigmoid(l), 1 - sigmoid(l))
    kernels_.softmax(pair, 2);
    kernels_.scale(x.data + row * x.cols, pair[0], x.cols);
  });
}

void CpuBackend::run_rotate(Matrix x, int64_t head_width, RopeAngles angles) {
  for_each_row(x.rows, x.cols, [&](int64_t row) {
    const float* cos = angles.cos + row * angles.half;
    const float* sin = angles.sin + row * angles.half;
    for (int64_t head = 0; head < x.cols; head += head_width) {
      kernels_.rotate(x.data + row * x.cols + head, cos, sin, angles.half, angles.interleaved);
    }
  });
}

}  // namespace realm::cpu
