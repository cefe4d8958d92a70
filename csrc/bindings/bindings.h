// The parts of the Python extension, one function per subject, called once by module.cpp. Bindings
// convert and hold references; they compute nothing, and release the GIL around whatever does.
#pragma once

#include <pybind11/pybind11.h>

namespace realm {
class Error;
}

namespace realm::bindings {

// The Python exception that stands for an error.
pybind11::object exception_of(const Error& error);

void bind_errors();
void bind_devices(pybind11::module_& m);
void bind_quant(pybind11::module_& m);
void bind_gguf(pybind11::module_& m);
void bind_gguf_write(pybind11::module_& m);
void bind_requantize(pybind11::module_& m);
void bind_sampling(pybind11::module_& m);
void bind_adapters(pybind11::module_& m);
void bind_merge(pybind11::module_& m);
void bind_model(pybind11::module_& m);
void bind_session(pybind11::module_& m);
void bind_layers(pybind11::module_& m);
void bind_speculation(pybind11::module_& m);
void bind_engine(pybind11::module_& m);
void bind_runtime(pybind11::module_& m);
void bind_vocabulary(pybind11::module_& m);

}  // namespace realm::bindings
