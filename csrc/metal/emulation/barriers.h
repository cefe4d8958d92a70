// Lets a test leave out one barrier of the kernels, by where it stands in their source, and list
// those that ran: what a kernel's result is without a barrier shows whether the loss is seen.
#pragma once

#include <set>
#include <string>
#include <utility>

namespace realm::simt {

using BarrierPlace = std::pair<std::string, int>;  // file and line

struct Barriers {
  bool is_watched = false;
  BarrierPlace left_out;        // none if the file is empty
  std::set<BarrierPlace> seen;  // while watched
};
inline Barriers& barriers() {
  static Barriers one;
  return one;
}

// Whether the barrier that stands here is to be kept.
inline bool keeps_barrier(const char* file, int line) {
  Barriers& all = barriers();
  if (!all.is_watched) return true;
  BarrierPlace here{file, line};
  const bool kept = here != all.left_out;
  all.seen.insert(std::move(here));
  return kept;
}

}  // namespace realm::simt
