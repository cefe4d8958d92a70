// A tensor's extents, outermost first as numpy writes them: a weight of 4096 rows of 11008 is
// {4096, 11008}. At most kMaxRank of them; the element count is kept, exact, from construction on.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

namespace realm {

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<uint64_t> extents);

  // No value when there are more than kMaxRank extents or their product exceeds 2^63 - 1.
  static std::optional<Shape> checked(std::span<const uint64_t> extents);

  int rank() const { return rank_; }
  uint64_t operator[](int i) const { return extents_[static_cast<size_t>(i)]; }
  uint64_t elements() const { return elements_; }
  // Length of the innermost extent, the unit that weight formats divide into blocks.
  uint64_t row_elements() const {
    return rank_ == 0 ? 1 : extents_[static_cast<size_t>(rank_) - 1];
  }
  uint64_t rows() const { return elements_ == 0 ? 0 : elements_ / row_elements(); }
  std::span<const uint64_t> extents() const {
    return {extents_.data(), static_cast<size_t>(rank_)};
  }

  bool operator==(const Shape& other) const = default;

 private:
  std::array<uint64_t, kMaxRank> extents_{};
  int rank_ = 0;
  uint64_t elements_ = 1;
};

// "[4096, 11008]".
std::string to_string(const Shape& shape);

}  // namespace realm
