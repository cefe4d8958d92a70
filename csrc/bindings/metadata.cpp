#include "bindings/metadata.h"

#include <limits>
#include <optional>
#include <pybind11/numpy.h>
#include <type_traits>

#include "base/error.h"
#include "bindings/buffers.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using gguf::Array;
using gguf::StringArray;
using gguf::Value;
using gguf::ValueType;

// Calls `f(T{})` with the C++ type of a number or bool type.
template <class F>
auto with_type(ValueType type, F&& f) {
  switch (type) {
    case ValueType::kU8:
      return f(uint8_t{});
    case ValueType::kI8:
      return f(int8_t{});
    case ValueType::kU16:
      return f(uint16_t{});
    case ValueType::kI16:
      return f(int16_t{});
    case ValueType::kU32:
      return f(uint32_t{});
    case ValueType::kI32:
      return f(int32_t{});
    case ValueType::kF32:
      return f(float{});
    case ValueType::kBool:
      return f(bool{});
    case ValueType::kU64:
      return f(uint64_t{});
    case ValueType::kI64:
      return f(int64_t{});
    case ValueType::kF64:
      return f(double{});
    case ValueType::kText:
    case ValueType::kArray:
      break;
  }
  fail(ErrorCode::kInternal, "no number type: ", static_cast<uint32_t>(type));
}

template <class T>
py::object number(T value) {
  if constexpr (std::is_same_v<T, bool>)
    return py::bool_(value);
  else if constexpr (std::is_floating_point_v<T>)
    return py::float_(value);
  else
    return py::int_(value);
}

// A list of n objects, each made once by element(i).
template <class F>
py::list list_of(size_t n, F&& element) {
  py::list list(n);
  for (size_t i = 0; i < n; ++i) {
    PyList_SET_ITEM(list.ptr(), static_cast<py::ssize_t>(i), element(i).release().ptr());
  }
  return list;
}

py::list to_list(const Array& array) {
  return with_type(array.element_type(), [&](auto zero) {
    using T = decltype(zero);
    return list_of(array.size(), [&](size_t i) { return number(array.at<T>(i)); });
  });
}

py::list to_list(const StringArray& texts) {
  return list_of(texts.size(), [&](size_t i) { return decode_text(texts[i]); });
}

// ---- from Python

bool is_text(py::handle object) {
  return PyUnicode_Check(object.ptr()) || PyBytes_Check(object.ptr());
}

std::string text_bytes(py::handle object) {
  if (PyUnicode_Check(object.ptr())) return encode_text(object);
  return py::reinterpret_borrow<py::bytes>(object);
}

// The value of a Python int as T, if T holds it.
template <class T>
std::optional<T> fit(py::handle integer) {
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(integer.ptr(), &overflow);
  if (overflow == 0) {
    if (std::is_unsigned_v<T> && value < 0) return std::nullopt;
    const auto narrow = static_cast<T>(value);
    return static_cast<long long>(narrow) == value ? std::optional(narrow) : std::nullopt;
  }
  if (overflow < 0 || !std::is_same_v<T, uint64_t>) return std::nullopt;
  const unsigned long long wide = PyLong_AsUnsignedLongLong(integer.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    return std::nullopt;
  }
  return static_cast<T>(wide);
}

template <class T, class... Wider>
Value integer_value(py::handle integer) {
  if (const auto value = fit<T>(integer)) return *value;
  if constexpr (sizeof...(Wider) > 0) return integer_value<Wider...>(integer);
  fail(ErrorCode::kInvalidRequest,
       "metadata integer does not fit 64 bits: ", std::string(py::repr(integer)));
}

template <class T, class... Wider>
Value integer_array(const py::sequence& list) {
  std::vector<T> values;
  for (const py::handle item : list) {
    if (const auto value = fit<T>(item)) values.push_back(*value);
  }
  if (values.size() == list.size()) return Array::of(std::span<const T>(values));
  if constexpr (sizeof...(Wider) > 0) return integer_array<Wider...>(list);
  fail(ErrorCode::kInvalidRequest, "no 64-bit type holds every integer of a metadata list");
}

Value text_array(const py::sequence& list) {
  StringArray texts;
  for (const py::handle item : list) texts.push_back(text_bytes(item));
  return texts;
}

Value float_array(const py::sequence& list) {
  std::vector<float> values;
  for (const py::handle item : list) values.push_back(py::cast<float>(item));
  return Array::of(std::span<const float>(values));
}

Value bool_array(const py::sequence& list) {
  std::vector<std::byte> values;
  for (const py::handle item : list) values.push_back(std::byte{item.ptr() == Py_True});
  return Array(ValueType::kBool, std::move(values));
}

template <class Predicate>
bool every(const py::sequence& list, Predicate&& holds) {
  for (const py::handle item : list) {
    if (!holds(item)) return false;
  }
  return true;
}

Value list_value(const py::sequence& list) {
  const auto is_bool = [](py::handle item) { return PyBool_Check(item.ptr()) != 0; };
  const auto is_int = [](py::handle item) { return PyLong_Check(item.ptr()) != 0; };
  const auto is_number = [](py::handle item) {
    return PyLong_Check(item.ptr()) != 0 || PyFloat_Check(item.ptr()) != 0;
  };
  if (list.size() > 0 && every(list, is_text)) return text_array(list);
  if (list.size() > 0 && every(list, is_bool)) return bool_array(list);
  if (every(list, is_int)) return integer_array<int32_t, uint32_t, int64_t, uint64_t>(list);
  if (every(list, is_number)) return float_array(list);
  fail(ErrorCode::kInvalidRequest, "a metadata list holds values of several kinds, or other lists");
}

// The GGUF type of a numpy dtype.
ValueType type_of(const py::dtype& dtype) {
  const char kind = dtype.kind();
  const auto bytes = static_cast<uint32_t>(dtype.itemsize());
  for (uint32_t id = 0; id < gguf::kValueTypeCount; ++id) {
    const auto type = static_cast<ValueType>(id);
    if (gguf::bytes_of(type) != bytes) continue;
    const bool matches = with_type(type, [&](auto zero) {
      using T = decltype(zero);
      if (std::is_same_v<T, bool>) return kind == 'b';
      if (std::is_floating_point_v<T>) return kind == 'f';
      return kind == (std::is_unsigned_v<T> ? 'u' : 'i');
    });
    if (matches) return type;
  }
  fail(ErrorCode::kInvalidRequest, "metadata cannot hold numpy type ", std::string(py::str(dtype)));
}

Value numpy_value(py::handle object) {
  const auto numpy = py::module_::import("numpy");
  const py::array given = numpy.attr("asarray")(object);
  const ValueType type = type_of(given.dtype());
  const py::array array =
      numpy.attr("ascontiguousarray")(given, given.dtype().attr("newbyteorder")("<"));
  REALM_CHECK(given.ndim() <= 1, "a metadata array must have one dimension, has ", given.ndim());
  const auto bytes = hold_bytes(array).bytes;
  if (given.ndim() == 1) return Array(type, {bytes.begin(), bytes.end()});
  return with_type(type, [&](auto zero) -> Value {
    std::memcpy(&zero, bytes.data(), sizeof zero);
    return zero;
  });
}

bool is_numpy(py::handle object) {
  return py::hasattr(object, "dtype");
}

}  // namespace

py::object to_python(const Value& value) {
  return std::visit(
      [](const auto& stored) -> py::object {
        using T = std::decay_t<decltype(stored)>;
        if constexpr (std::is_same_v<T, std::string>)
          return decode_text(stored);
        else if constexpr (std::is_arithmetic_v<T>)
          return number(stored);
        else
          return to_list(stored);
      },
      value.storage());
}

py::dict to_python(const gguf::Metadata& metadata) {
  py::dict dict;
  for (const auto& entry : metadata) dict[decode_text(entry.key)] = to_python(entry.value);
  return dict;
}

Value value_from_python(py::handle object) {
  PyObject* const raw = object.ptr();
  if (is_numpy(object)) return numpy_value(object);
  if (PyBool_Check(raw)) return raw == Py_True;
  if (PyLong_Check(raw)) return integer_value<uint32_t, int32_t, uint64_t, int64_t>(object);
  if (PyFloat_Check(raw)) return static_cast<float>(PyFloat_AS_DOUBLE(raw));
  if (is_text(object)) return Value(text_bytes(object));
  if (PyList_Check(raw) || PyTuple_Check(raw)) {
    return list_value(py::reinterpret_borrow<py::sequence>(object));
  }
  fail(ErrorCode::kInvalidRequest, "metadata cannot hold a ", Py_TYPE(raw)->tp_name);
}

gguf::Metadata metadata_from_python(const py::dict& dict) {
  gguf::Metadata metadata;
  for (const auto& [key, value] : dict) {
    REALM_CHECK(PyUnicode_Check(key.ptr()), "a metadata key must be a str");
    metadata.set(encode_text(key), value_from_python(value));
  }
  return metadata;
}

}  // namespace realm::bindings
