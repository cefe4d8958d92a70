// The first logits of a row as a device should list them.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include "backend/top_logit.h"

namespace realm::test {

using List = std::vector<TopLogit>;

inline List first_of(std::span<const float> row, size_t n) {
  List list;
  for (size_t i = 0; i < row.size(); ++i) list.push_back({row[i], static_cast<int32_t>(i)});
  std::ranges::stable_sort(list, std::greater{}, &TopLogit::logit);
  list.resize(n);
  return list;
}

inline bool equal(std::span<const TopLogit> a, std::span<const TopLogit> b) {
  return std::ranges::equal(a, b, [](const TopLogit& x, const TopLogit& y) {
    return x.token == y.token && x.logit == y.logit &&
           std::signbit(x.logit) == std::signbit(y.logit);
  });
}

}  // namespace realm::test
