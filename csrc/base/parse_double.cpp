#include "base/parse_double.h"

#if defined(__APPLE__)
#include <cmath>
#include <string>
#include <xlocale.h>
#else
#include <charconv>
#endif

namespace realm {

#if defined(__APPLE__)

// Apple's library has from_chars for floats only on systems newer than those we build for.
std::optional<double> parse_double(std::string_view text) {
  const double value = ::strtod_l(std::string(text).c_str(), nullptr, LC_C_LOCALE);
  const std::string_view mantissa = text.substr(0, text.find_first_of("eE"));
  const bool is_zero = mantissa.find_first_of("123456789") == std::string_view::npos;
  if (std::isinf(value) || (value == 0 && !is_zero)) return std::nullopt;
  return value;
}

#else

std::optional<double> parse_double(std::string_view text) {
  double value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) {
    return std::nullopt;
  }
  return value;
}

#endif

}  // namespace realm
