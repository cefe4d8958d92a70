// A tensor as an adapter's file has it, before anyone knows what it means.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace realm::lora {

struct SourceTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;                       // outermost extent first
  std::span<const std::byte> bytes;  // alive as long as the source it came from
  std::string unreadable;            // why its values cannot be used; empty when they can
};

}  // namespace realm::lora
