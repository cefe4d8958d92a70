// Groups of products of one input: the input is quantized once, then the panels of all products are
// handed out in one parallel region, a few at a time.
#include <algorithm>

#include "cpu/cpu_backend.h"
#include "cpu/panel_products.h"

namespace realm::cpu {

namespace {

// Panels that are computed together: whole tiles, or enough for float kernels that take several.
// Few rows over packed bits take them one by one, and the threads end closer together.
constexpr int64_t kPanelsTogether = 3, kFloatPanelsTogether = 8;

bool is_float(const Product& product) {
  return as_cpu(*product.weight.weight).format().block_elements == 1;
}

int64_t first_panel(const Product& product) {
  return product.weight.first_row / kPanelRows;
}

int64_t n_panels(const Product& product) {
  const int64_t end = product.weight.first_row + product.weight.n_rows;
  return (end + kPanelRows - 1) / kPanelRows - first_panel(product);
}

int64_t panels_together(const Product& product) {
  if (is_float(product)) return kFloatPanelsTogether;
  return product.out.rows <= kMaxFusedInput ? 1 : kPanelsTogether;
}

// What threads take: some panels of one product.
int64_t n_units(const Product& product) {
  const int64_t together = panels_together(product);
  return (n_panels(product) + together - 1) / together;
}

Activations::Needs needs_of(std::span<const Product> products) {
  Activations::Needs needs;
  for (const Product& product : products) {
    if (is_float(product)) continue;
    const Format& format = as_cpu(*product.weight.weight).format();
    (has_fine_activations(panel_layout(format)) ? needs.fine : needs.super) = true;
  }
  return needs;
}

}  // namespace

void CpuBackend::run_linear(std::span<const Product> products, Matrix in) {
  if (activation_kind_ == ActivationKind::kF32) return run_reference_linear(products, in);
  activations_.quantize(panel_kernels_, *pool_, in, needs_of(products));
  int64_t units = 0;
  for (const Product& product : products) units += n_units(product);
  pool_->run_ranges(units, 1, [&](int64_t begin, int64_t end) {
    int64_t before = 0;  // units of the products passed
    for (const Product& product : products) {
      const int64_t n = n_units(product);
      const int64_t from = std::max(begin - before, int64_t{0}), to = std::min(end - before, n);
      if (from < to && !cancelled()) multiply_units(product, from, to);
      before += n;
    }
  });
}

void CpuBackend::multiply_units(const Product& product, int64_t begin, int64_t end) {
  const int64_t together = panels_together(product);
  const int64_t first = begin * together, n = std::min(end * together, n_panels(product)) - first;
  const auto multiply = is_float(product) ? multiply_float_panels : multiply_quantized_panels;
  multiply(panel_kernels_, product, activations_, first_panel(product) + first, n, path_counts_);
}

}  // namespace realm::cpu
