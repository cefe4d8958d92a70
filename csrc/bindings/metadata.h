// GGUF metadata values as Python objects, and back.
#pragma once

#include <pybind11/pybind11.h>

#include "gguf/metadata.h"

namespace realm::bindings {

// bool, int, float, str, or a list of one of them.
pybind11::object to_python(const gguf::Value& value);
pybind11::dict to_python(const gguf::Metadata& metadata);

// A Python int becomes u32 (or i32, u64, i64, the first that holds it), a float f32, a list of int
// i32 (or the first of u32, i64, u64 that holds them all). numpy scalars and one-dimensional arrays
// keep their own type. Throws InvalidRequest for anything else.
gguf::Value value_from_python(pybind11::handle object);
gguf::Metadata metadata_from_python(const pybind11::dict& dict);

}  // namespace realm::bindings
