// Arithmetic on numbers that came from a stranger. Each function either gives the exact result or
// says that there is none; nothing wraps. Header-only, C++17.
#pragma once

#include <cstdint>
#include <optional>

namespace realm {

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  const uint64_t sum = a + b;
  if (sum < a) return std::nullopt;
  return sum;
}

inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  if (a != 0 && b > UINT64_MAX / a) return std::nullopt;
  return a * b;
}

// `value` rounded up to a multiple of `alignment`, a power of two.
inline std::optional<uint64_t> checked_align_up(uint64_t value, uint64_t alignment) {
  const auto padded = checked_add(value, alignment - 1);
  if (!padded) return std::nullopt;
  return *padded & ~(alignment - 1);
}

// Whether [offset, offset + bytes) lies inside [0, size). Never computes offset + bytes.
constexpr bool range_fits(uint64_t offset, uint64_t bytes, uint64_t size) {
  return offset <= size && bytes <= size - offset;
}

constexpr bool is_power_of_two(uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

}  // namespace realm
