// Which rows of a step have which adapters, grouped once per step: a segment is a set and its rows,
// however many sequences they belong to. Empty for a step of the base alone. One thread at a time.
#pragma once

#include <vector>

#include "backend/step_recorder.h"

namespace realm {

struct AdapterSegment {
  const AdapterSet* set = nullptr;
  std::vector<int32_t> rows;  // ascending
};

class StepAdapters {
 public:
  void plan(const StepBatch& step);

  // By the order in which sets first occur.
  std::span<const AdapterSegment> rows() const { return rows_; }
  // The same in terms of the rows wanted: 0 is the first of them.
  std::span<const AdapterSegment> wanted() const { return wanted_; }
  // By the sets' serial numbers: of the same sets, not of merely equal ones.
  AdaptersOnRows on_rows() const { return {all_, replacing_}; }

 private:
  std::vector<AdapterSegment> rows_, wanted_;
  std::vector<uint64_t> all_, replacing_;
};

// Calls use(first, n) for every run of successive rows.
template <class Use>
void for_each_run(std::span<const int32_t> rows, Use use) {
  for (size_t i = 0; i < rows.size();) {
    size_t end = i + 1;
    while (end < rows.size() && rows[end] == rows[end - 1] + 1) ++end;
    use(int64_t{rows[i]}, static_cast<int64_t>(end - i));
    i = end;
  }
}

}  // namespace realm
