#include "engine/flow_book.h"

#include <tuple>

#include "engine/sequence.h"

namespace realm {

bool FlowBook::ByRank::operator()(const Sequence* a, const Sequence* b) const {
  return std::tuple(-int64_t{a->priority}, a->order) < std::tuple(-int64_t{b->priority}, b->order);
}

const Sequence& FlowBook::top() const {
  if (waiting.empty()) return **running.begin();
  if (running.empty()) return **waiting.begin();
  return ByRank()(*waiting.begin(), *running.begin()) ? **waiting.begin() : **running.begin();
}

}  // namespace realm
