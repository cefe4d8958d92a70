// Rows that lie in the same spans of rows, found together: who shares its adapters with whom.
// Keeps its memory, so that rows of a number seen before allocate nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace realm::gpu {

class RowGroups {
 public:
  // Rows 0 .. n_rows - 1, all of them in group 0: the rows in no span.
  void begin(int64_t n_rows);
  // Splits the groups that have some of these rows, and gives the span's number. The same memory
  // again is the same span.
  int add(std::span<const int32_t> rows);
  // Lists the rows by group, ascending in each; to be called after the last add().
  void list();

  int n_groups() const { return static_cast<int>(groups_.size()); }
  bool lies_in(int group, int span) const;
  std::span<const int32_t> rows_of(int group) const;
  std::span<const int32_t> rows() const { return rows_; }  // of all groups, in order
  std::span<const int32_t> group_of_row() const { return group_of_; }

 private:
  struct Group {
    int from = 0, span = -1;  // rows of group `from` that lie in `span` too
    int child = -1, child_span = -1;
    int first = 0, n = 0;
  };
  int child_of(int group, int span);

  std::vector<std::span<const int32_t>> spans_;
  std::vector<Group> groups_;
  std::vector<int32_t> group_of_, rows_;
};

}  // namespace realm::gpu
