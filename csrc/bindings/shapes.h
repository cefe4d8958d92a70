// Shapes and format names between numpy and the core.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "quant/formats.h"
#include "tensor/shape.h"

namespace realm::bindings {

// Throws InvalidRequest for an unknown name.
inline const Format& format_named(const std::string& name) {
  const Format* format = find_format(std::string_view(name));
  REALM_CHECK(format != nullptr, "unknown weight format ", quoted(name));
  return *format;
}

inline Shape shape_from(std::span<const uint64_t> extents) {
  const auto shape = Shape::checked(extents);
  REALM_CHECK(shape, "shape has more than ", Shape::kMaxRank, " extents or too many elements");
  return *shape;
}

inline Shape shape_of(const pybind11::array& array) {
  const std::vector<uint64_t> extents(array.shape(), array.shape() + array.ndim());
  return shape_from(extents);
}

inline std::vector<pybind11::ssize_t> numpy_extents(const Shape& shape) {
  return {shape.extents().begin(), shape.extents().end()};
}

using ShapeTuple = pybind11::typing::Tuple<int, pybind11::ellipsis>;

inline ShapeTuple shape_tuple(const Shape& shape) {
  return pybind11::tuple(pybind11::cast(numpy_extents(shape)));
}

}  // namespace realm::bindings
