#include "tensor/shape.h"

#include "base/checked_math.h"
#include "base/error.h"

namespace realm {

Shape::Shape(std::initializer_list<uint64_t> extents) {
  const auto shape = checked({extents.begin(), extents.size()});
  REALM_CHECK(shape, "shape has too many extents or elements");
  *this = *shape;
}

std::optional<Shape> Shape::checked(std::span<const uint64_t> extents) {
  if (extents.size() > kMaxRank) return std::nullopt;
  Shape shape;
  for (const uint64_t extent : extents) {
    const auto product = checked_mul(shape.elements_, extent);
    if (!product || *product > INT64_MAX) return std::nullopt;
    shape.extents_[static_cast<size_t>(shape.rank_++)] = extent;
    shape.elements_ = *product;
  }
  return shape;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int i = 0; i < shape.rank(); ++i) text += concat(i ? ", " : "", shape[i]);
  return text + "]";
}

}  // namespace realm
