#include "gpu/row_groups.h"

namespace realm::gpu {

void RowGroups::begin(int64_t n_rows) {
  spans_.clear();
  groups_.assign(1, {});
  group_of_.assign(static_cast<size_t>(n_rows), 0);
}

int RowGroups::add(std::span<const int32_t> rows) {
  for (size_t i = 0; i < spans_.size(); ++i) {
    if (spans_[i].data() == rows.data() && spans_[i].size() == rows.size())
      return static_cast<int>(i);
  }
  const auto span = static_cast<int>(spans_.size());
  spans_.push_back(rows);
  for (const int32_t row : rows) {
    int32_t& group = group_of_[static_cast<size_t>(row)];
    group = child_of(group, span);
  }
  return span;
}

int RowGroups::child_of(int group, int span) {
  Group& parent = groups_[static_cast<size_t>(group)];
  if (parent.child_span == span) return parent.child;
  parent.child_span = span;
  const int child = parent.child = n_groups();
  groups_.push_back({group, span});
  return child;
}

void RowGroups::list() {
  for (const int32_t group : group_of_) ++groups_[static_cast<size_t>(group)].n;
  int first = 0;
  for (Group& group : groups_) {
    group.first = first;
    first += group.n;
    group.n = 0;
  }
  rows_.resize(group_of_.size());
  for (size_t row = 0; row < group_of_.size(); ++row) {
    Group& group = groups_[static_cast<size_t>(group_of_[row])];
    rows_[static_cast<size_t>(group.first + group.n++)] = static_cast<int32_t>(row);
  }
}

bool RowGroups::lies_in(int group, int span) const {
  for (; group > 0; group = groups_[static_cast<size_t>(group)].from)
    if (groups_[static_cast<size_t>(group)].span == span) return true;
  return false;
}

std::span<const int32_t> RowGroups::rows_of(int group) const {
  const Group& one = groups_[static_cast<size_t>(group)];
  return rows().subspan(static_cast<size_t>(one.first), static_cast<size_t>(one.n));
}

}  // namespace realm::gpu
