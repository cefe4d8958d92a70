// Exceptions of the core become the classes of realm_ext/errors.py, here and nowhere else.
#include <cerrno>
#include <new>

#include "base/error.h"
#include "bindings/bindings.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

const char* class_name(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kInvalidRequest:
      return "InvalidRequest";
    case ErrorCode::kFormat:
      return "FormatError";
    case ErrorCode::kIo:
      return error.os_error() == ENOENT ? "FileMissingError" : "IoError";
    case ErrorCode::kOutOfMemory:
      return "OutOfMemoryError";
    case ErrorCode::kAdapter:
      return "AdapterError";
    case ErrorCode::kQuotaExceeded:
      return "QuotaExceeded";
    case ErrorCode::kDevice:
      return "DeviceError";
    case ErrorCode::kCancelled:
      return "RequestCancelled";
    case ErrorCode::kForked:
      return "ProcessForkedError";
    case ErrorCode::kInternal:
      break;
  }
  return "RealmError";
}

py::object message_of(const char* text) {
  return py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
      text, static_cast<py::ssize_t>(std::char_traits<char>::length(text)), "backslashreplace"));
}

void raise(const char* name, const py::object& arguments) {
  PyErr_SetObject(py::module_::import("realm_ext.errors").attr(name).ptr(), arguments.ptr());
}

void raise(const Error& error) {
  const py::object message = message_of(error.what());
  if (error.code() == ErrorCode::kIo) {
    raise(class_name(error), py::make_tuple(error.os_error(), message));
  } else {
    raise(class_name(error), message);
  }
}

void translate(std::exception_ptr pending) {
  try {
    if (pending) std::rethrow_exception(pending);
  } catch (const Error& error) {
    raise(error);
  } catch (const std::bad_alloc&) {
    raise("OutOfMemoryError", message_of("out of memory"));
  }
}

}  // namespace

void bind_errors() {
  py::register_local_exception_translator(&translate);
}

}  // namespace realm::bindings
