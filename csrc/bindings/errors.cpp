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

py::object class_named(const char* name) {
  return py::module_::import("realm_ext.errors").attr(name);
}

void raise(const py::object& exception) {
  PyErr_SetObject(py::type::handle_of(exception).ptr(), exception.ptr());
}

void translate(std::exception_ptr pending) {
  try {
    if (pending) std::rethrow_exception(pending);
  } catch (const Error& error) {
    raise(exception_of(error));
  } catch (const std::bad_alloc&) {
    raise(class_named("OutOfMemoryError")(message_of("out of memory")));
  }
}

}  // namespace

py::object exception_of(const Error& error) {
  const py::object type = class_named(class_name(error)), message = message_of(error.what());
  if (error.code() == ErrorCode::kIo) return type(error.os_error(), message);
  if (error.code() != ErrorCode::kQuotaExceeded) return type(message);
  const QuotaBreach& breach = error.breach();
  return type(message, breach.quota, breach.limit, breach.value);
}

void bind_errors() {
  py::register_local_exception_translator(&translate);
}

}  // namespace realm::bindings
