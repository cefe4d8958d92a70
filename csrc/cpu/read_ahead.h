// Which group of products came after which: a model's steps are alike, so threads that wait may
// fetch what their part of the next group begins with.
#pragma once

#include <cstddef>
#include <span>
#include <unordered_map>
#include <vector>

#include "backend/operands.h"

namespace realm::cpu {

class ReadAhead {
 public:
  // A group of products begins, known by its first weight: place(thread) is where in memory that
  // thread's part of it begins. Gives such places of the group that came after it last time, none
  // if that is not known. They are to be asked for and never read: their weight may be gone.
  template <class Place>
  std::span<const void* const> begin(const Weight* first, int n_threads, Place place) {
    Group& group = enter(first);
    group.starts.resize(static_cast<size_t>(n_threads));
    for (int i = 0; i < n_threads; ++i) group.starts[static_cast<size_t>(i)] = place(i);
    const auto next = groups_.find(group.next);
    if (next == groups_.end()) return {};
    return next->second.starts;
  }
  // Something else begins, after which nothing is expected.
  void pause() { last_ = nullptr; }

 private:
  struct Group {
    std::vector<const void*> starts;
    const Weight* next = nullptr;
  };

  Group& enter(const Weight* first) {
    constexpr size_t kMostGroups = 1 << 14;  // of weights that came and went too
    if (groups_.size() >= kMostGroups && !groups_.contains(first)) {
      groups_.clear();
      last_ = nullptr;
    }
    Group& group = groups_[first];  // stays where it is when others join
    if (last_) last_->next = first;
    last_ = &group;
    return group;
  }

  std::unordered_map<const Weight*, Group> groups_;
  Group* last_ = nullptr;
};

}  // namespace realm::cpu
