#include "bindings/buffers.h"

#include <utility>

#include "bindings/gil.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

class BufferOwner {
 public:
  explicit BufferOwner(py::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_SIMPLE) != 0)
      throw py::error_already_set();
  }
  ~BufferOwner() {
    const Locked locked;
    PyBuffer_Release(&buffer_);
  }
  BufferOwner(const BufferOwner&) = delete;
  BufferOwner& operator=(const BufferOwner&) = delete;

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(buffer_.buf), static_cast<size_t>(buffer_.len)};
  }

 private:
  Py_buffer buffer_{};
};

}  // namespace

bool is_bytes_like(py::handle object) {
  return PyObject_CheckBuffer(object.ptr()) != 0;
}

HeldBytes hold_bytes(py::handle object) {
  auto owner = std::make_shared<BufferOwner>(object);
  const auto bytes = owner->bytes();
  return {bytes, std::move(owner)};
}

std::string file_path(py::handle path) {
  PyObject* encoded = nullptr;
  if (PyUnicode_FSConverter(path.ptr(), &encoded) == 0) throw py::error_already_set();
  return py::reinterpret_steal<py::bytes>(encoded);
}

std::string encode_text(py::handle text) {
  PyObject* encoded = PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogateescape");
  if (encoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::bytes>(encoded);
}

py::str decode_text(std::string_view bytes) {
  PyObject* text =
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<py::ssize_t>(bytes.size()), "surrogateescape");
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

}  // namespace realm::bindings
