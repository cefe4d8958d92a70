#include "bindings/gil.h"

#include <chrono>
#include <thread>

namespace realm::bindings {

void stop_this_thread() noexcept {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

pybind11::object call_python(const pybind11::object& function, const pybind11::tuple& arguments) {
  PyObject* result = nullptr;
  try {
    result = PyObject_CallObject(function.ptr(), arguments.ptr());
  } catch (...) {  // from C: nothing but the end of this thread
    stop_this_thread();
  }
  if (!result) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(result);
}

}  // namespace realm::bindings
