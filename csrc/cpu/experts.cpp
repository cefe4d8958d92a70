// Mixture of experts: choose, then run each expert once over all rows that chose it, experts
// ascending.
#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/row_loop.h"

namespace realm::cpu {

namespace {

// The largest probability not yet taken, the lower index on a tie (and on NaN, which the caller
// will find in the logits).
int32_t take_largest(float* probabilities, int64_t n, float* value) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) {
    if (probabilities[i] > probabilities[best]) best = i;
  }
  *value = probabilities[best];
  probabilities[best] = -1.0f;
  return static_cast<int32_t>(best);
}

}  // namespace

void CpuBackend::run_route(Matrix logits, bool renormalize, Routing out) {
  for_each_row(logits.rows, logits.cols, [&](int64_t row) {
    float* p = logits.data + row * logits.cols;
    int32_t* expert = out.expert + row * out.n_used;
    float* weight = out.weight + row * out.n_used;
    kernels_.softmax(p, logits.cols);
    float total = 0;
    for (int64_t i = 0; i < out.n_used; ++i) {
      expert[i] = take_largest(p, logits.cols, weight + i);
      total += weight[i];
    }
    for (int64_t i = 0; renormalize && i < out.n_used; ++i) weight[i] /= total;
  });
}

// Adapters name the step's rows; those of them among `rows`, which chose the expert, are found at
// their places there.
void CpuBackend::add_expert_lora(const ExpertBank& bank, int64_t expert, ExpertPart part,
                                 std::span<const int32_t> rows, Matrix in, Matrix out) {
  std::vector<LoraProduct> products;
  std::vector<std::vector<int32_t>> places;
  for (const ExpertLora& lora : bank.lora) {
    if (lora.expert != expert || lora.part != part) continue;
    std::vector<int32_t> found;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto& wanted = lora.product.rows;
      if (std::binary_search(wanted.begin(), wanted.end(), rows[i])) {
        found.push_back(static_cast<int32_t>(i));
      }
    }
    if (found.empty()) continue;
    products.push_back(lora.product);
    products.back().out = out;
    places.push_back(std::move(found));
  }
  for (size_t i = 0; i < products.size(); ++i) products[i].rows = places[i];
  if (!products.empty()) run_add_lora(products, in);
}

// The first rows of scratch.in, which are the step's `rows`, through one expert into scratch.out.
void CpuBackend::run_expert(const ExpertBank& bank, Activation kind, int64_t expert,
                            std::span<const int32_t> rows, const ExpertScratch& scratch) {
  const auto n = static_cast<int64_t>(rows.size());
  const int64_t width = scratch.gate.cols, embed = scratch.in.cols;
  const Matrix in = scratch.in.first_rows(n), gates = scratch.gate.first_rows(n),
               up = scratch.up.first_rows(n), out = scratch.out.first_rows(n);
  const Product gate_and_up[] = {{{*bank.gate, expert * width, width}, {}, gates},
                                 {{*bank.up, expert * width, width}, {}, up}};
  const Product down = {{*bank.down, expert * embed, embed}, {}, out};
  run_linear(gate_and_up, in);
  add_expert_lora(bank, expert, ExpertPart::kGate, rows, in, gates);
  add_expert_lora(bank, expert, ExpertPart::kUp, rows, in, up);
  run_gate(kind, gates, up, gates);
  run_linear({&down, 1}, gates);
  add_expert_lora(bank, expert, ExpertPart::kDown, rows, gates, out);
}

void CpuBackend::run_experts(const ExpertBank& bank, Activation kind, Matrix in, Routing routing,
                             const ExpertScratch& scratch, Matrix out) {
  const auto row_bytes = static_cast<size_t>(in.cols) * sizeof(float);
  std::memset(out.data, 0, static_cast<size_t>(out.rows) * row_bytes);
  const int64_t n_choices = in.rows * routing.n_used;
  thread_local std::vector<int32_t> rows;  // that chose an expert, ascending
  for (int64_t expert = 0; expert < bank.n_experts; ++expert) {
    rows.clear();
    for (int64_t i = 0; i < n_choices; ++i) {
      if (routing.expert[i] != expert) continue;
      const int64_t row = i / routing.n_used, place = static_cast<int64_t>(rows.size());
      std::memcpy(scratch.in.data + place * in.cols, in.data + row * in.cols, row_bytes);
      rows.push_back(static_cast<int32_t>(row));
    }
    if (rows.empty()) continue;
    run_expert(bank, kind, expert, rows, scratch);
    int64_t n = 0;
    for (int64_t i = 0; i < n_choices; ++i) {
      if (routing.expert[i] != expert) continue;
      float* row = out.data + i / routing.n_used * out.cols;
      kernels_.add_scaled(row, scratch.out.data + n++ * in.cols, routing.weight[i], out.cols);
    }
  }
}

}  // namespace realm::cpu
