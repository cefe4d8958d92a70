#include "fuzz/capi_world.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace realm::test {

uint64_t Dice::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int64_t Dice::edge_number() {
  static constexpr int64_t kEdges[] = {0,
                                       1,
                                       -1,
                                       -2,
                                       2,
                                       3,
                                       8,
                                       17,
                                       512,
                                       1 << 20,
                                       std::numeric_limits<int32_t>::max(),
                                       std::numeric_limits<int32_t>::min(),
                                       std::numeric_limits<int64_t>::max(),
                                       std::numeric_limits<int64_t>::min()};
  return one_of(kEdges);
}

double Dice::edge_real() {
  static const double kEdges[] = {0,   -0.0, 1,     0.5,    2,      -1,       1e-9,
                                  1e9, NAN,  1e300, -1e300, 5e-324, INFINITY, -INFINITY};
  return one_of(kEdges);
}

void Handles::add(Kind kind, const void* handle) {
  const std::lock_guard lock(mutex_);
  live_[kind].push_back(const_cast<void*>(handle));
}

void* Handles::draw(Kind kind, Dice& dice) {
  const std::lock_guard lock(mutex_);
  if (dice.once_in(30)) return nullptr;
  if (dice.once_in(30)) return reinterpret_cast<void*>(static_cast<uintptr_t>(dice.next()));
  if (dice.once_in(30)) return reinterpret_cast<void*>(uintptr_t{1} << dice.below(64));
  if (dice.once_in(20) && !dead_.empty()) return dead_[dice.below(dead_.size())];
  const Kind drawn = dice.once_in(20) ? static_cast<Kind>(dice.below(kKinds)) : kind;
  const auto& live = live_[drawn];
  return live.empty() ? nullptr : live[dice.below(live.size())];
}

void* Handles::take_surplus(Kind kind) {
  const std::lock_guard lock(mutex_);
  auto& live = live_[kind];
  if (live.size() <= kMostLive[kind]) return nullptr;
  void* oldest = live.front();
  live.erase(live.begin());
  return oldest;
}

std::vector<void*> Handles::take_all(Kind kind) {
  const std::lock_guard lock(mutex_);
  return std::exchange(live_[kind], {});
}

void Handles::note_freed(const void* handle) {
  const std::lock_guard lock(mutex_);
  for (auto& live : live_) std::erase(live, const_cast<void*>(handle));
  dead_.push_back(const_cast<void*>(handle));
  if (dead_.size() > 256) dead_.erase(dead_.begin());
}

size_t Handles::count(Kind kind) {
  const std::lock_guard lock(mutex_);
  return live_[kind].size();
}

}  // namespace realm::test
