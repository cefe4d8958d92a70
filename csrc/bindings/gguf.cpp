// GGUFFile: reading. Raw bytes and sources in memory are never copied; every object handed out
// keeps alive what it points into.
#include <pybind11/critical_section.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/buffers.h"
#include "bindings/gguf_source.h"
#include "bindings/gil.h"
#include "bindings/metadata.h"
#include "bindings/shapes.h"
#include "gguf/reader.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using gguf::GgufFile;
using gguf::TensorInfo;

using MetadataDict = py::typing::Dict<py::str, py::object>;
using TensorDict = py::typing::Dict<py::str, TensorInfo>;

// A file and the dictionaries made of it, each built once, when first asked for.
struct PyGguf {
  std::shared_ptr<const GgufFile> file;
  py::object metadata;
  py::object tensors;
};

const TensorInfo& tensor_named(const GgufFile& file, const std::string& name) {
  const TensorInfo* info = file.find(name);
  if (info == nullptr) throw py::key_error(name);
  return *info;
}

py::array_t<float> read(const PyGguf& self, const std::string& name) {
  const TensorInfo& info = tensor_named(*self.file, name);
  py::array_t<float> out(numpy_extents(info.shape));
  float* values = out.mutable_data();
  const Unlocked unlocked;
  self.file->read_f32(info, values);
  return out;
}

std::span<const std::byte> view(const PyGguf& self, const std::string& name) {
  const TensorInfo& info = tensor_named(*self.file, name);
  const Unlocked unlocked;
  return self.file->view(info);
}

py::array_t<uint8_t> raw(const py::object& self, const std::string& name) {
  const auto bytes = view(self.cast<const PyGguf&>(), name);
  py::array_t<uint8_t> array(static_cast<py::ssize_t>(bytes.size()),
                             reinterpret_cast<const uint8_t*>(bytes.data()), self);
  array.attr("setflags")(py::arg("write") = false);
  return array;
}

py::dict tensor_dict(const GgufFile& file) {
  py::dict dict;
  for (const TensorInfo& info : file.tensors()) dict[py::str(info.name)] = py::cast(info);
  return dict;
}

MetadataDict metadata(py::object self) {
  auto& gguf = self.cast<PyGguf&>();
  const py::scoped_critical_section lock(self);
  if (!gguf.metadata) gguf.metadata = to_python(gguf.file->metadata());
  return gguf.metadata;
}

TensorDict tensors(py::object self) {
  auto& gguf = self.cast<PyGguf&>();
  const py::scoped_critical_section lock(self);
  if (!gguf.tensors) gguf.tensors = tensor_dict(*gguf.file);
  return gguf.tensors;
}

const char* dtype_name(const TensorInfo& info) {
  return format_of(info.dtype).name;
}

std::string describe(const TensorInfo& info) {
  return py::str("TensorInfo(name={!r}, shape={}, dtype={!r}, offset={}, nbytes={})")
      .format(info.name, shape_tuple(info.shape), dtype_name(info), info.offset, info.bytes);
}

std::string describe_file(const PyGguf& self) {
  return concat("<GGUFFile version ", self.file->version(), ", ", self.file->metadata().size(),
                " keys, ", self.file->tensors().size(), " tensors>");
}

void bind_tensor_info(py::module_& m) {
  py::class_<TensorInfo>(m, "TensorInfo", "Where a tensor lies in its file, and as what.")
      .def_readonly("name", &TensorInfo::name)
      .def_property_readonly(
          "shape", [](const TensorInfo& info) { return shape_tuple(info.shape); },
          "As numpy writes it: rows first.")
      .def_property_readonly("dtype", &dtype_name, "Name of its weight format.")
      .def_readonly("offset", &TensorInfo::offset, "Of its first byte, from the start of its file.")
      .def_readonly("nbytes", &TensorInfo::bytes, "Encoded size.")
      .def_readonly("part", &TensorInfo::part, "Which file of a split model, from 0.")
      .def("__repr__", &describe);
}

}  // namespace

void bind_gguf(py::module_& m) {
  bind_tensor_info(m);
  py::class_<PyGguf>(m, "GGUFFile",
                     R"(A GGUF file, validated before anything of it is exposed.

Safe to share between threads. Of a split model, open the first part.

Args:
    source: A path, or a bytes-like object with the file's contents. The object is not
        copied; do not write to it while the file is in use.)")
      .def(py::init([](const PathOrBytes& source) { return PyGguf{open_gguf(source), {}, {}}; }),
           py::arg("source"))
      .def_property_readonly("version", [](const PyGguf& self) { return self.file->version(); })
      .def_property_readonly("alignment", [](const PyGguf& self) { return self.file->alignment(); })
      .def_property_readonly(
          "file_bytes", [](const PyGguf& self) { return self.file->file_bytes(); },
          "Size of all parts together.")
      .def_property_readonly("metadata", &metadata, "Keys and values in file order.")
      .def_property_readonly("tensors", &tensors, "TensorInfo by name, in file order.")
      .def("read", &read, py::arg("name"), "The tensor's values, decoded to float32.")
      .def("raw", &raw, py::arg("name"),
           R"(The tensor's encoded bytes, read-only and without a copy.

The array keeps the file alive. It maps a file on disk: if another process shortens that
file, touching the array ends this process. `read` has no such risk.)")
      .def("__repr__", &describe_file);
}

}  // namespace realm::bindings
