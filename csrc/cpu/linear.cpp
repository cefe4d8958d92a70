// Groups of products of one input: the input is quantized once, then the panels of all products are
// handed out in one parallel region, a few at a time.
#include <algorithm>

#include "cpu/cpu_backend.h"
#include "cpu/panel_products.h"

namespace realm::cpu {

namespace {

constexpr int64_t kFloatPanelsTogether = 8;  // enough for kernels that take several

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

// Panels that are computed together: whole tiles, or what integer kernels take. Few rows over
// packed bits take them one by one, and the threads end closer together.
int64_t panels_together(const PanelKernels& kernels, const Product& product) {
  if (is_float(product)) return kFloatPanelsTogether;
  if (product.out.rows <= kMaxFusedInput) return 1;
  const PanelLayout& layout = panel_layout(as_cpu(*product.weight.weight).format());
  const bool in_integers = kernels.integer.panels > 0 && !has_fine_activations(layout);
  return in_integers ? kernels.integer.panels : kMaxTilePanels;
}

// What threads take: some panels of one product.
int64_t n_units(const PanelKernels& kernels, const Product& product) {
  const int64_t together = panels_together(kernels, product);
  return (n_panels(product) + together - 1) / together;
}

// Where the panels of a unit, counted over all products, begin in memory; null if in no panels.
const void* memory_of(const PanelKernels& kernels, std::span<const Product> products,
                      int64_t unit) {
  for (const Product& product : products) {
    const int64_t n = n_units(kernels, product);
    if (unit < n) {
      const CpuWeight& weight = as_cpu(*product.weight.weight);
      const int64_t panel = first_panel(product) + unit * panels_together(kernels, product);
      return weight.is_packed() ? weight.panel(panel) : nullptr;
    }
    unit -= n;
  }
  return nullptr;
}

}  // namespace

Activations::Needs CpuBackend::needs_of(std::span<const Product> products) {
  Activations::Needs needs;
  for (const Product& product : products) {
    if (is_float(product)) continue;
    const Format& format = as_cpu(*product.weight.weight).format();
    (has_fine_activations(panel_layout(format)) ? needs.fine : needs.super) = true;
  }
  return needs;
}

void CpuBackend::run_linear(std::span<const Product> products, Matrix in) {
  if (activation_kind_ == ActivationKind::kF32) return run_reference_linear(products, in);
  multiply(products, in, {});
}

void CpuBackend::multiply(std::span<const Product> products, Matrix in, OutputUse use) {
  activations_.quantize(panel_kernels_, *pool_, in, needs_of(products));
  multiply_quantized(products, use);
}

void CpuBackend::multiply_quantized(std::span<const Product> products, OutputUse use) {
  int64_t units = 0;
  for (const Product& product : products) units += n_units(panel_kernels_, product);
  expect_what_follows(products, units);
  pool_->run_ranges(units, 1, [&](int64_t begin, int64_t end) {
    int64_t before = 0;  // units of the products passed
    for (const Product& product : products) {
      const int64_t n = n_units(panel_kernels_, product);
      const int64_t from = std::max(begin - before, int64_t{0}), to = std::min(end - before, n);
      if (from < to && !cancelled()) multiply_units(product, from, to, use);
      before += n;
    }
  });
}

// Reading weights takes the time of few rows: threads that wait for the next products read ahead.
void CpuBackend::expect_what_follows(std::span<const Product> products, int64_t units) {
  const int n_threads = pool_->n_threads();
  std::span<const void* const> places;
  if (!products.empty() && products.front().out.rows <= kMaxFusedInput) {
    places = read_ahead_.begin(products.front().weight.weight, n_threads, [&](int thread) {
      return memory_of(panel_kernels_, products, pool_->part_begin(units, thread));
    });
  } else {
    read_ahead_.pause();
  }
  for (int i = 0; i < n_threads; ++i) {
    pool_->expect(i, places.empty() ? nullptr : places[static_cast<size_t>(i)]);
  }
}

void CpuBackend::multiply_units(const Product& product, int64_t begin, int64_t end, OutputUse use) {
  const int64_t together = panels_together(panel_kernels_, product);
  const int64_t first = begin * together, n = std::min(end * together, n_panels(product)) - first;
  const auto multiply = is_float(product) ? multiply_float_panels : multiply_quantized_panels;
  multiply(panel_kernels_, product, activations_, first_panel(product) + first, n, use,
           path_counts_);
}

}  // namespace realm::cpu
