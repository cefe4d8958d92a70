// Weight formats: the table, and encoding and decoding of arrays.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/buffers.h"
#include "bindings/gil.h"
#include "bindings/shapes.h"
#include "quant/formats.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;

uint64_t checked_bytes(const Format& format, const Shape& shape) {
  const auto bytes = tensor_bytes(format, shape);
  REALM_CHECK(bytes, "rows of ", to_string(shape), " do not divide into ", format.name,
              " blocks of ", format.block_elements);
  return *bytes;
}

py::bytes quantize(const FloatArray& array, const std::string& type) {
  const Format& format = format_named(type);
  const Shape shape = shape_of(array);
  const uint64_t n_bytes = checked_bytes(format, shape);
  auto out = py::reinterpret_steal<py::bytes>(
      PyBytes_FromStringAndSize(nullptr, static_cast<py::ssize_t>(n_bytes)));
  if (!out) throw py::error_already_set();
  auto* blocks = reinterpret_cast<std::byte*>(PyBytes_AS_STRING(out.ptr()));
  const float* values = array.data();
  const Unlocked unlocked;
  encode(format, values, blocks, shape.elements());
  return out;
}

FloatArray dequantize(const py::buffer& data, const std::string& type,
                      const std::vector<uint64_t>& extents) {
  const Format& format = format_named(type);
  const Shape shape = shape_from(extents);
  const uint64_t n_bytes = checked_bytes(format, shape);
  const HeldBytes held = hold_bytes(data);
  REALM_CHECK(held.bytes.size() == n_bytes, format.name, " of shape ", to_string(shape), " is ",
              n_bytes, " bytes, got ", held.bytes.size());
  FloatArray out(numpy_extents(shape));
  float* values = out.mutable_data();
  const Unlocked unlocked;
  decode(format, held.bytes.data(), values, shape.elements());
  return out;
}

std::vector<Format> formats() {
  return {all_formats().begin(), all_formats().end()};
}

}  // namespace

void bind_quant(py::module_& m) {
  py::class_<Format>(m, "Format", "A weight format: values are encoded in blocks of fixed size.")
      .def_readonly("name", &Format::name)
      .def_readonly("block_elements", &Format::block_elements, "Values in one block.")
      .def_readonly("block_bytes", &Format::block_bytes, "Bytes of one block.")
      .def_property_readonly(
          "writable", [](const Format& f) { return f.encode != nullptr; },
          "Whether quantize() can produce it.");
  m.def("formats", &formats, "Every weight format that this build reads.");
  m.def("quantize", &quantize, py::arg("array"), py::arg("type"),
        R"(Encode an array of floats; each row must be whole blocks of the format.

Args:
    array: Values, converted to float32 if they are not.
    type: Name of a writable format, such as "Q4_K".

Returns:
    The encoded blocks, row after row.)");
  m.def("dequantize", &dequantize, py::arg("data"), py::arg("type"), py::arg("shape"),
        R"(Decode blocks to float32.

Args:
    data: Encoded blocks, exactly as many as the shape needs.
    type: Name of a format, such as "Q4_K".
    shape: Shape of the result, rows first.)");
}

}  // namespace realm::bindings
