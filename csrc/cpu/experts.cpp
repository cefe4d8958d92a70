// Mixture of experts: choose, then run each expert once over all rows that chose it, experts
// ascending.
#include <algorithm>
#include <cstring>

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

// The first `n` rows of scratch.in through one expert into scratch.out.
void CpuBackend::run_expert(const ExpertBank& bank, Activation kind, int64_t expert, int64_t n,
                            const ExpertScratch& scratch) {
  const int64_t width = scratch.gate.cols, embed = scratch.in.cols;
  const Matrix in = scratch.in.first_rows(n), gates = scratch.gate.first_rows(n),
               up = scratch.up.first_rows(n);
  const Product gate_and_up[] = {{{*bank.gate, expert * width, width}, {}, gates},
                                 {{*bank.up, expert * width, width}, {}, up}};
  const Product down = {{*bank.down, expert * embed, embed}, {}, scratch.out.first_rows(n)};
  run_linear(gate_and_up, in);
  run_gate(kind, gates, up, gates);
  run_linear({&down, 1}, gates);
}

void CpuBackend::run_experts(const ExpertBank& bank, Activation kind, Matrix in, Routing routing,
                             const ExpertScratch& scratch, Matrix out) {
  const auto row_bytes = static_cast<size_t>(in.cols) * sizeof(float);
  std::memset(out.data, 0, static_cast<size_t>(out.rows) * row_bytes);
  const int64_t n_choices = in.rows * routing.n_used;
  for (int64_t expert = 0; expert < bank.n_experts; ++expert) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_choices; ++i) {
      if (routing.expert[i] != expert) continue;
      std::memcpy(scratch.in.data + n++ * in.cols, in.data + i / routing.n_used * in.cols,
                  row_bytes);
    }
    if (n == 0) continue;
    run_expert(bank, kind, expert, n, scratch);
    n = 0;
    for (int64_t i = 0; i < n_choices; ++i) {
      if (routing.expert[i] != expert) continue;
      float* row = out.data + i / routing.n_used * out.cols;
      kernels_.add_scaled(row, scratch.out.data + n++ * in.cols, routing.weight[i], out.cols);
    }
  }
}

}  // namespace realm::cpu
