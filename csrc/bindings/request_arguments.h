// The arguments that every face of requests takes: tokens, a deadline, a mailbox.
#pragma once

#include <memory>
#include <optional>
#include <pybind11/numpy.h>
#include <vector>

#include "base/error.h"
#include "engine/mailbox.h"

namespace realm::bindings {

using TokenArray =
    pybind11::array_t<int32_t, pybind11::array::c_style | pybind11::array::forcecast>;
using MaybeMailbox = std::optional<std::shared_ptr<Mailbox>>;

inline std::vector<int32_t> tokens_of(const TokenArray& array) {
  REALM_CHECK(array.ndim() == 1, "tokens must be one-dimensional");
  return {array.data(), array.data() + array.size()};
}

inline std::optional<int64_t> deadline_of(std::optional<double> ms) {
  if (!ms) return std::nullopt;
  REALM_CHECK(*ms >= 0 && *ms < 1e12, "deadline_ms is ", *ms, "; must be 0 to 1e12");
  return static_cast<int64_t>(*ms);
}

}  // namespace realm::bindings
