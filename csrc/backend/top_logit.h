// A logit beside its token: what a backend lists of a row. Seen by kernels: valid C++17.
#pragma once

#include <cstdint>

namespace realm {

struct TopLogit {
  float logit;
  int32_t token;
};

}  // namespace realm
