// write_gguf: metadata and tensors from Python objects. Arrays and buffers are written in place,
// not copied.
#include <optional>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>
#include <pybind11/typing.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/buffers.h"
#include "bindings/gil.h"
#include "bindings/metadata.h"
#include "bindings/shapes.h"
#include "gguf/writer.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using gguf::TensorData;

// Tensors whose bytes `owners` keep in place.
struct HeldTensors {
  std::vector<TensorData> tensors;
  std::vector<HeldBytes> owners;

  void add(std::string name, DType dtype, const Shape& shape, HeldBytes held) {
    tensors.push_back({{std::move(name), dtype, shape}, held.bytes});
    owners.push_back(std::move(held));
  }
};

struct FloatType {
  DType dtype;
  const char* numpy_name;
};

// The format that keeps a numpy float array as it is.
std::optional<FloatType> float_type(const py::dtype& dtype) {
  if (dtype.kind() != 'f') return std::nullopt;
  switch (dtype.itemsize()) {
    case 2:
      return FloatType{DType::kF16, "<f2"};
    case 4:
      return FloatType{DType::kF32, "<f4"};
    case 8:
      return FloatType{DType::kF64, "<f8"};
    default:
      return std::nullopt;
  }
}

void add_array(HeldTensors& held, const std::string& name, const py::array& array) {
  const auto type = float_type(array.dtype());
  REALM_CHECK(type, "tensor ", quoted(name), " has numpy type ",
              std::string(py::str(array.dtype())), "; give floats, or (bytes, type, shape)");
  const auto contiguous = py::module_::import("numpy").attr("ascontiguousarray");
  held.add(name, type->dtype, shape_of(array), hold_bytes(contiguous(array, type->numpy_name)));
}

void add_encoded(HeldTensors& held, const std::string& name, const py::tuple& tensor) {
  REALM_CHECK(tensor.size() == 3, "tensor ", quoted(name), " is a tuple of ", tensor.size(),
              "; give (bytes, type, shape)");
  const Format& format = format_named(tensor[1].cast<std::string>());
  const Shape shape = shape_from(tensor[2].cast<std::vector<uint64_t>>());
  held.add(name, format.dtype, shape, hold_bytes(tensor[0]));
}

HeldTensors hold_tensors(const py::dict& tensors) {
  HeldTensors held;
  for (const auto& [key, value] : tensors) {
    REALM_CHECK(PyUnicode_Check(key.ptr()), "a tensor name must be a str");
    const std::string name = encode_text(key);
    if (PyTuple_Check(value.ptr())) {
      add_encoded(held, name, py::reinterpret_borrow<py::tuple>(value));
    } else {
      add_array(held, name, py::module_::import("numpy").attr("asarray")(value));
    }
  }
  return held;
}

using AnyDict = py::typing::Dict<py::str, py::object>;

void write(const std::filesystem::path& path, const AnyDict& metadata, const AnyDict& tensors) {
  const gguf::Metadata values = metadata_from_python(metadata);
  const HeldTensors held = hold_tensors(tensors);
  const Unlocked unlocked;
  gguf::write_gguf(path.string(), values, held.tensors);
}

}  // namespace

void bind_gguf_write(py::module_& m) {
  m.def("write_gguf", &write, py::arg("path"), py::arg("metadata"), py::arg("tensors"),
        R"(Write a GGUF file, version 3; it appears under its name only when it is complete.

Args:
    path: Where to write; an existing file is replaced.
    metadata: A Python int is written as u32 (else i32, u64, i64), a float as f32, a list of
        int as i32; numpy scalars and arrays keep their type.
    tensors: By name, a float array (written as F16, F32 or F64), or a tuple (encoded bytes,
        format name, shape).)");
}

}  // namespace realm::bindings
