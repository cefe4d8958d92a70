// The argument that every reader of models takes: a path, or the file's contents.
#pragma once

#include <memory>
#include <pybind11/pybind11.h>

#include "gguf/reader.h"

namespace realm::bindings {

// An argument that names a file or is one: a path, or an object with the buffer protocol.
class PathOrBytes : public pybind11::object {
 public:
  static bool accepts(PyObject*) { return true; }
  PYBIND11_OBJECT_DEFAULT(PathOrBytes, pybind11::object, accepts)
};

// Opens it with the GIL released. Contents are not copied, and are held as long as the result
// lives.
std::shared_ptr<const gguf::GgufFile> open_gguf(const PathOrBytes& source);

}  // namespace realm::bindings

template <>
struct pybind11::detail::handle_type_name<realm::bindings::PathOrBytes> {
  static constexpr auto name = const_name("str | os.PathLike | typing_extensions.Buffer");
};
