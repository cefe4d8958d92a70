#include "model/step_adapters.h"

#include <algorithm>

#include "model/adapter_set.h"

namespace realm {

void StepAdapters::plan(const StepBatch& step) {
  rows_.clear();
  wanted_.clear();
  const auto segment_of = [](std::vector<AdapterSegment>& segments,
                             const AdapterSet* set) -> AdapterSegment& {
    for (AdapterSegment& segment : segments) {
      if (segment.set == set) return segment;
    }
    return segments.emplace_back(AdapterSegment{set, {}});
  };
  for (const SequenceSpan& span : step.spans) {
    if (!span.adapters) continue;
    AdapterSegment& segment = segment_of(rows_, span.adapters);
    for (int32_t i = 0; i < span.n_rows; ++i) segment.rows.push_back(span.first_row + i);
    const auto& wanted = step.rows_wanted;
    auto one = std::ranges::lower_bound(wanted, span.first_row);
    for (; one != wanted.end() && *one < span.first_row + span.n_rows; ++one) {
      segment_of(wanted_, span.adapters).rows.push_back(static_cast<int32_t>(one - wanted.begin()));
    }
  }
  all_.clear();
  replacing_.clear();
  for (const auto* segments : {&rows_, &wanted_}) {
    for (const AdapterSegment& segment : *segments) {
      for (auto* numbers : {&all_, &replacing_}) {
        if (numbers == &replacing_ && !segment.set->replaces_weights()) continue;
        numbers->insert(numbers->end(), {segment.set->serial(), segment.rows.size()});
        numbers->insert(numbers->end(), segment.rows.begin(), segment.rows.end());
      }
    }
  }
}

}  // namespace realm
