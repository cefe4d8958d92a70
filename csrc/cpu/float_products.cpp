// Weights that are floats: each output is one chain of fused multiply-adds over ascending k. Few
// rows read 16-bit panels, several at once; many rows widen some panels to f32 first.
#include <algorithm>

#include "cpu/panel_products.h"
#include "cpu/panel_sums.h"

namespace realm::cpu {

namespace {

constexpr int64_t kDepth = 128;  // values of k widened at a time: three panels of them fit L1

FloatPanel panel_type(DType dtype) {
  if (dtype == DType::kF16) return FloatPanel::kF16;
  return dtype == DType::kBF16 ? FloatPanel::kBF16 : FloatPanel::kF32;
}

class FloatProduct {
 public:
  FloatProduct(const PanelKernels& kernels, const Product& product, const Activations& acts,
               OutputCompletion* completion)
      : kernels_(kernels),
        product_(product),
        weight_(as_cpu(*product.weight.weight)),
        type_(panel_type(weight_.format().dtype)),
        in_(acts.in()),
        completion_(completion) {}

  // Returns the number of kernel calls.
  uint64_t run(int64_t first, int64_t n) {
    const bool whole = weight_.is_packed() && in_.rows < kMaxFloatRows;
    for (int64_t p = first; p < first + n;) {
      const int64_t left = first + n - p;
      const int64_t together = whole ? most_panels(type_, in_.rows, left)
                                     : most_panels(FloatPanel::kF32, in_.rows, left);
      float* sums = zeroed_sums(in_.rows, together);
      if (whole) {
        multiply(type_, weight_.panel(p), weight_.panel_stride(), 0, in_.cols, together, sums);
      } else {
        run_widened(p, together, sums);
      }
      if (completion_) {
        stream_completed(product_, sums, 0, in_.rows, p, together, *completion_);
      } else {
        write_sums(product_, sums, 0, in_.rows, p, together);
      }
      p += together;
    }
    if (completion_) finish_streams();
    return calls_;
  }

 private:
  const FloatKernel (&table(FloatPanel type) const)[kMaxFloatRows + 1][kMaxFloatPanels + 1] {
    return kernels_.floats[static_cast<int>(type)];
  }

  // Rows that a kernel exists for, at most `rows`.
  int64_t most_rows(FloatPanel type, int64_t rows) const {
    int64_t r = std::min<int64_t>(rows, kMaxFloatRows);
    while (!table(type)[r][1]) --r;
    return r;
  }
  // Panels for the kernel that takes the first rows.
  int64_t most_panels(FloatPanel type, int64_t rows, int64_t left) const {
    const auto& of_rows = table(type)[most_rows(type, rows)];
    int64_t p = std::min<int64_t>(left, kMaxFloatPanels);
    while (!of_rows[p]) --p;
    return p;
  }

  // All rows times `panels` panels over `depth` values of k from `k` on.
  void multiply(FloatPanel type, const uint8_t* panels, int64_t stride, int64_t k, int64_t depth,
                int64_t n_panels, float* sums) {
    for (int64_t row = 0; row < in_.rows;) {
      const int64_t r = most_rows(type, in_.rows - row);
      multiply_rows(type, panels, stride, row, r, k, depth, n_panels, sums);
      row += r;
    }
  }

  // A kernel takes its panels' sums of a row side by side; others go one panel at a time.
  void multiply_rows(FloatPanel type, const uint8_t* panels, int64_t stride, int64_t row, int64_t r,
                     int64_t k, int64_t depth, int64_t n_panels, float* sums) {
    const float* x = in_.data + row * in_.cols + k;
    float* out = sums + row * n_panels * kPanelRows;
    if (const FloatKernel together = table(type)[r][n_panels]) {
      ++calls_;
      return together(panels, stride, x, in_.cols, depth, out);
    }
    for (int64_t p = 0; p < n_panels; ++p) {
      alignas(64) float own[kMaxFloatRows * kPanelRows];
      for (int64_t i = 0; i < r; ++i) {
        std::copy_n(out + (i * n_panels + p) * kPanelRows, kPanelRows, own + i * kPanelRows);
      }
      table(type)[r][1](panels + p * stride, stride, x, in_.cols, depth, own);
      ++calls_;
      for (int64_t i = 0; i < r; ++i) {
        std::copy_n(own + i * kPanelRows, kPanelRows, out + (i * n_panels + p) * kPanelRows);
      }
    }
  }

  void run_widened(int64_t panel, int64_t n_panels, float* sums) {
    alignas(64) thread_local float wide[kMaxFloatPanels][kDepth * kPanelRows];
    for (int64_t k = 0; k < in_.cols; k += kDepth) {
      const int64_t depth = std::min(kDepth, in_.cols - k);
      for (int64_t p = 0; p < n_panels; ++p) widen(panel + p, k, depth, wide[p]);
      multiply(FloatPanel::kF32, reinterpret_cast<const uint8_t*>(wide[0]), sizeof wide[0], k,
               depth, n_panels, sums);
    }
  }

  void widen(int64_t panel, int64_t k, int64_t depth, float* out) const {
    const auto bytes = static_cast<int64_t>(weight_.format().block_bytes);
    if (weight_.is_packed()) {
      kernels_.widen[static_cast<int>(type_)](weight_.panel(panel) + k * kPanelRows * bytes, out,
                                              depth * kPanelRows);
      return;
    }
    if (weight_.format().dtype == DType::kF64) return widen_doubles(panel, k, depth, out);
    alignas(64) uint8_t scratch[kDepth * kPanelRows * sizeof(float)];
    pack(panel_layout(weight_.format()), RowBlocks(weight_, panel, k).rows, depth, scratch);
    kernels_.widen[static_cast<int>(type_)](scratch, out, depth * kPanelRows);
  }

  void widen_doubles(int64_t panel, int64_t k, int64_t depth, float* out) const {
    const RowBlocks blocks(weight_, panel, k);
    float row[kDepth];
    for (int64_t r = 0; r < kPanelRows; ++r) {
      if (!blocks.rows[r]) continue;
      realm::decode(weight_.format(), blocks.rows[r], row, static_cast<uint64_t>(depth));
      for (int64_t i = 0; i < depth; ++i) out[i * kPanelRows + r] = row[i];
    }
  }

  const PanelKernels& kernels_;
  const Product& product_;
  const CpuWeight& weight_;
  const FloatPanel type_;
  const Matrix in_;
  OutputCompletion* const completion_;
  uint64_t calls_ = 0;
};

}  // namespace

void multiply_float_panels(const PanelKernels& kernels, const Product& product,
                           const Activations& acts, int64_t first, int64_t n, OutputUse use,
                           PathCounts& counts) {
  const uint64_t calls = FloatProduct(kernels, product, acts, use.completion).run(first, n);
  counts.floats.fetch_add(calls, std::memory_order_relaxed);
}

}  // namespace realm::cpu
