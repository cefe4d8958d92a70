#include "lora/merge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <span>

#include "base/error.h"
#include "lora/dora.h"

namespace realm::lora {

namespace {

using Matrix = std::pair<uint32_t, int64_t>;  // tensor and expert

std::string describe(const BaseLayout& base, Matrix matrix) {
  const BaseTensor& tensor = base.tensors()[matrix.first];
  if (tensor.n_experts == 0) return quoted(tensor.name);
  return concat(quoted(tensor.name), ", expert ", matrix.second);
}

// Sums of finite numbers may be none that f32 has, and formats of floats would carry them on.
void check_finite(const BaseLayout& base, Matrix matrix, const char* part, int64_t first_row,
                  int64_t cols, std::span<const float> values) {
  bool all = true;
  for (const float value : values) all &= std::abs(value) <= std::numeric_limits<float>::max();
  if (all) return;
  const auto bad = std::ranges::find_if_not(values, [](float x) { return std::isfinite(x); });
  fail(ErrorCode::kAdapter, "the adapters at their scales make the ", part, " of ",
       describe(base, matrix), " ", *bad, " in row ", first_row + (bad - values.begin()) / cols);
}

}  // namespace

void check_composition(const BaseLayout& base, const ScaledAdapters& adapters) {
  std::set<Matrix> saved;
  for (const auto& [adapter, scale] : adapters) {
    for (const Saved& one : adapter->saved()) {
      const Matrix matrix{one.tensor, one.expert};
      if (scale != 1) {
        fail(ErrorCode::kAdapter, "an adapter saves the module ", describe(base, matrix),
             " whole: its scale is 1, not ", scale);
      }
      if (!saved.insert(matrix).second) {
        fail(ErrorCode::kAdapter, "two adapters save the module ", describe(base, matrix),
             " whole; they cannot be composed");
      }
    }
  }
  for (const auto& [adapter, scale] : adapters) {
    for (const Delta& delta : adapter->deltas()) {
      const Matrix matrix{delta.tensor, delta.expert};
      if (delta.gain.empty() || !saved.contains(matrix)) continue;
      fail(ErrorCode::kAdapter, "DoRA measures the base's ", describe(base, matrix),
           ", which another adapter replaces; they cannot be composed");
    }
  }
}

Merge::Merge(std::shared_ptr<const BaseLayout> base, ScaledAdapters adapters)
    : base_(std::move(base)), adapters_(std::move(adapters)) {
  check_composition(*base_, adapters_);
  for (const auto& [adapter, scale] : adapters_) {
    for (const Saved& saved : adapter->saved()) {
      changes_[saved.tensor].push_back({nullptr, &saved, scale, saved.expert});
    }
    for (const Delta& delta : adapter->deltas()) {
      changes_[delta.tensor].push_back({&delta, nullptr, scale, delta.expert});
    }
  }
  for (auto& [tensor, changes] : changes_) {  // what is replaced comes before what is added
    std::ranges::stable_sort(changes, {}, [](const Change& one) { return one.saved == nullptr; });
  }
}

bool Merge::changes(std::string_view name) const {
  const auto tensor = base_->find(name);
  const auto found = tensor ? changes_.find(*tensor) : changes_.end();
  if (found == changes_.end()) return false;
  return std::ranges::any_of(found->second,
                             [](const Change& one) { return one.saved || one.delta->rank > 0; });
}

bool Merge::unties() const {
  const auto head = base_->find("output");
  if (!head || base_->tensors()[*head].stored_in.empty()) return false;
  return changes("output") || changes(base_->tensors()[*head].stored_in);
}

void Merge::apply(std::string_view name, int64_t first_row, int64_t n_rows, float* rows) const {
  const auto idx = base_->find(name);
  const auto found = idx ? changes_.find(*idx) : changes_.end();
  if (found == changes_.end()) return;
  const BaseTensor& tensor = base_->tensors()[*idx];
  while (n_rows > 0) {
    const int64_t expert = first_row / tensor.rows, within = first_row % tensor.rows;
    const int64_t n = std::min(n_rows, tensor.rows - within);
    apply_to_expert(tensor, found->second, expert, within, n, rows);
    check_finite(*base_, {*idx, expert}, "weight", within, tensor.cols,
                 {rows, static_cast<size_t>(n * tensor.cols)});
    rows += n * tensor.cols;
    first_row += n;
    n_rows -= n;
  }
}

void Merge::apply_to_expert(const BaseTensor& tensor, const std::vector<Change>& changes,
                            int64_t expert, int64_t first_row, int64_t n_rows, float* rows) const {
  const auto n_values = static_cast<size_t>(n_rows * tensor.cols);
  const bool is_embedding = tensor.kind == BaseKind::kEmbedding;
  std::vector<float> before, adapted;
  for (const Change& change : changes) {
    if (change.expert != expert) continue;
    if (change.saved) {
      for (int64_t i = 0; i < n_rows; ++i) {
        change.saved->weight.read_row(first_row + i, rows + i * tensor.cols);
      }
    } else if (change.delta->gain.empty()) {
      add_product(*change.delta, is_embedding, first_row, n_rows, change.scale, rows);
    } else {
      before.resize(n_values);
      base_->decode_rows(tensor, expert * tensor.rows + first_row, n_rows, before.data());
      adapted = before;
      add_product(*change.delta, is_embedding, first_row, n_rows, 1.0f, adapted.data());
      for (size_t i = 0; i < n_values; ++i) {
        const float gain =
            change.delta
                ->gain[static_cast<size_t>(first_row) + i / static_cast<size_t>(tensor.cols)];
        rows[i] += change.scale * (gain * adapted[i] - before[i]);
      }
    }
  }
}

std::optional<std::vector<float>> Merge::bias(std::string_view name) const {
  const auto idx = base_->find(name);
  const auto found = idx ? changes_.find(*idx) : changes_.end();
  if (found == changes_.end()) return std::nullopt;
  std::optional<std::vector<float>> bias;
  for (const Change& change : found->second) {
    if (!change.delta || change.delta->bias.empty()) continue;
    if (!bias) {
      bias = base_->bias(base_->tensors()[*idx]);
      bias->resize(change.delta->bias.size());
    }
    for (size_t i = 0; i < bias->size(); ++i) (*bias)[i] += change.scale * change.delta->bias[i];
  }
  if (bias) check_finite(*base_, {*idx, 0}, "bias", 0, 1, *bias);
  return bias;
}

std::vector<std::string> Merge::changed_biases() const {
  std::vector<std::string> names;
  for (const auto& [tensor, changes] : changes_) {
    const bool has = std::ranges::any_of(
        changes, [](const Change& one) { return one.delta && !one.delta->bias.empty(); });
    if (has) names.push_back(base_->tensors()[tensor].name);
  }
  return names;
}

}  // namespace realm::lora
