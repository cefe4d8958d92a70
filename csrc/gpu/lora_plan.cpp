#include "gpu/lora_plan.h"

#include <algorithm>
#include <bit>

namespace realm::gpu {

namespace {

FactorType type_of(const FactorView& factor) {
  if (factor.dtype == DType::kF16) return FactorType::kF16;
  return factor.dtype == DType::kBF16 ? FactorType::kBF16 : FactorType::kF32;
}

// Parts of one fused matrix: what they make of a row is the same.
bool shares_down(const LoraProduct& a, const LoraProduct& b) {
  return a.down.data == b.down.data && a.down.dtype == b.down.dtype &&
         a.down.stride == b.down.stride && a.up.rows == b.up.rows && a.scale == b.scale;
}

}  // namespace

void LoraPlanner::clear() {
  plan_.tasks.clear();
  plan_.rows.clear();
  plan_.tiles.clear();
  plan_.links.clear();
  plan_.chains.clear();
  plan_.n_coefficients = plan_.max_rank = plan_.max_cols = 0;
  plan_.max_rows = 0;
  shrunk_.clear();
  shrunk_before_.clear();
}

const LoraPlan& LoraPlanner::plan(std::span<const LoraProduct> products,
                                  const AddressOf& address_of) {
  clear();
  for (size_t first = 0, end = 0; first < products.size(); first = end) {
    const Matrix out = products[first].out;
    groups_.begin(out.rows);
    sources_.clear();
    for (; end < products.size() && products[end].out.data == out.data; ++end)
      sources_.push_back({&products[end], 0, groups_.add(products[end].rows)});
    groups_.list();
    std::swap(shrunk_, shrunk_before_);
    shrunk_.clear();
    const int first_task = add_tasks(sources_, address_of);
    for (int group = 1; group < groups_.n_groups(); ++group) {
      const auto rows = groups_.rows_of(group);
      const LoraRows listed{static_cast<int>(plan_.rows.size()), static_cast<int>(rows.size()), -1,
                            0};
      plan_.rows.insert(plan_.rows.end(), rows.begin(), rows.end());
      add_group(sources_, first_task, group, listed, out, address_of(out.data));
    }
  }
  return plan_;
}

void LoraPlanner::begin_experts(std::span<const ExpertLora> lora, int64_t n_rows) {
  groups_.begin(n_rows);
  for (const ExpertLora& one : lora) groups_.add(one.product.rows);
  groups_.list();
}

int LoraPlanner::n_parts() const {
  return static_cast<int>(std::bit_ceil(static_cast<unsigned>(groups_.n_groups())));
}

void LoraPlanner::add_experts(std::span<const ExpertLora> lora, ExpertPart part, Matrix out,
                              const AddressOf& address_of) {
  sources_.clear();
  for (const ExpertLora& one : lora) {
    if (one.part == part)
      sources_.push_back({&one.product, one.expert, groups_.add(one.product.rows)});
  }
  std::ranges::stable_sort(sources_, {}, &Source::expert);
  const int first_task = add_tasks(sources_, address_of);
  for (size_t first = 0, end = 0; first < sources_.size(); first = end) {
    const int64_t expert = sources_[first].expert;
    while (end < sources_.size() && sources_[end].expert == expert) ++end;
    for (int group = 1; group < groups_.n_groups(); ++group) {
      const LoraRows rows{0, static_cast<int>(groups_.rows_of(group).size()),
                          static_cast<int>(expert) * n_parts() + group, 0};
      add_group(std::span(sources_).subspan(first, end - first),
                first_task + static_cast<int>(first), group, rows, out, address_of(out.data));
    }
  }
}

// Their tasks follow one another; the first one's number.
int LoraPlanner::add_tasks(std::span<const Source> sources, const AddressOf& address_of) {
  const auto first = static_cast<int>(plan_.tasks.size());
  for (const Source& source : sources) {
    const LoraProduct& one = *source.product;
    plan_.tasks.push_back({address_of(one.down.data), address_of(one.up.data),
                           address_of(one.gain.data), address_of(one.rescale.data),
                           address_of(one.bias.data), address_of(one.shift.data), one.down.stride,
                           one.up.stride, type_of(one.down), type_of(one.up),
                           static_cast<int>(one.up.rows), one.scale, one.shift_scale, 0});
    plan_.max_rank = std::max(plan_.max_rank, one.up.rows);
  }
  return first;
}

void LoraPlanner::add_group(std::span<const Source> sources, int first_task, int group,
                            LoraRows rows, Matrix out, uint64_t address) {
  const auto first_link = static_cast<int>(plan_.links.size());
  for (size_t i = 0; i < sources.size(); ++i) {
    if (rows.n == 0 || !groups_.lies_in(group, sources[i].span)) continue;
    const int task = first_task + static_cast<int>(i);
    plan_.links.push_back({shrink(*sources[i].product, task, rows), task, 0});
  }
  const int n_links = static_cast<int>(plan_.links.size()) - first_link;
  if (n_links == 0) return;
  for (int i = 0; i < rows.n; i += kLoraRows) {
    const LoraRows some{rows.first + i, std::min(kLoraRows, rows.n - i), rows.part, 0};
    plan_.chains.push_back({some, address, out.cols, first_link, n_links, i, 0});
    plan_.max_rows = std::max(plan_.max_rows, some.n);
  }
  plan_.max_cols = std::max(plan_.max_cols, out.cols);
}

// Plans a group's coefficients; where they will lie.
int64_t LoraPlanner::shrink(const LoraProduct& product, int task, LoraRows rows) {
  const int64_t rank = product.up.rows;
  const Shrunk* found = find_shrunk(product, rows);
  const int64_t coefficients = found ? found->coefficients : plan_.n_coefficients;
  shrunk_.push_back({&product, rows.first, rows.n, coefficients});
  if (found) return coefficients;
  for (int i = 0; i < rows.n && rank > 0; i += kLoraRows) {
    const LoraRows some{rows.first + i, std::min(kLoraRows, rows.n - i), rows.part, 0};
    plan_.tiles.push_back({some, coefficients + i * rank, task, 0});
  }
  plan_.n_coefficients += rows.n * rank;
  return coefficients;
}

// Products of fused matrices come in the same order for each of their outputs, so only the one at
// this place of the output before is asked.
const LoraPlanner::Shrunk* LoraPlanner::find_shrunk(const LoraProduct& product,
                                                    LoraRows rows) const {
  if (rows.part >= 0 || shrunk_.size() >= shrunk_before_.size()) return nullptr;
  const Shrunk& before = shrunk_before_[shrunk_.size()];
  const bool same = shares_down(*before.product, product) && before.n_rows == rows.n &&
                    same_rows(before.first_row, rows.first, rows.n);
  return same ? &before : nullptr;
}

bool LoraPlanner::same_rows(int first, int other, int n) const {
  const auto begin = plan_.rows.begin();
  return std::equal(begin + first, begin + first + n, begin + other);
}

}  // namespace realm::gpu
