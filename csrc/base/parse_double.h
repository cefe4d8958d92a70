// Decimal text to the nearest double, whatever the locale.
#pragma once

#include <optional>
#include <string_view>

namespace realm {

// `text` is a number by JSON's grammar. None if it is beyond what a double holds, to either side.
std::optional<double> parse_double(std::string_view text);

}  // namespace realm
