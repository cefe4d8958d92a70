// Storage types of keys and values by their names in Python.
#pragma once

#include <string>

#include "backend/kinds.h"
#include "base/error.h"

namespace realm::bindings {

inline KvType kv_type_named(const std::string& name) {
  if (name == "f32") return KvType::kF32;
  if (name == "f16") return KvType::kF16;
  if (name == "bf16") return KvType::kBF16;
  if (name == "q8_0") return KvType::kQ8_0;
  fail(ErrorCode::kInvalidRequest, "kv_dtype is ", quoted(name),
       "; must be 'f32', 'f16', 'bf16' or 'q8_0'");
}

}  // namespace realm::bindings
