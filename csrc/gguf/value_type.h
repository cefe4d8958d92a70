// The thirteen types a GGUF value can have, and the C++ type of each.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/error.h"

namespace realm::gguf {

// Values are the ids that files use.
enum class ValueType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kText = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
inline constexpr uint32_t kValueTypeCount = 13;

// "u8", "f32", "text", ...
const char* name_of(ValueType type);
// Bytes of one number or bool; 0 for texts and arrays.
uint32_t bytes_of(ValueType type);

// The ValueType of a C++ number type: value_type_of<float> is kF32.
template <class T>
struct ValueTypeOf;
#define REALM_GGUF_VALUE_TYPE(type, id)               \
  template <>                                         \
  struct ValueTypeOf<type> {                          \
    static constexpr ValueType value = ValueType::id; \
  }
REALM_GGUF_VALUE_TYPE(uint8_t, kU8);
REALM_GGUF_VALUE_TYPE(int8_t, kI8);
REALM_GGUF_VALUE_TYPE(uint16_t, kU16);
REALM_GGUF_VALUE_TYPE(int16_t, kI16);
REALM_GGUF_VALUE_TYPE(uint32_t, kU32);
REALM_GGUF_VALUE_TYPE(int32_t, kI32);
REALM_GGUF_VALUE_TYPE(float, kF32);
REALM_GGUF_VALUE_TYPE(bool, kBool);
REALM_GGUF_VALUE_TYPE(uint64_t, kU64);
REALM_GGUF_VALUE_TYPE(int64_t, kI64);
REALM_GGUF_VALUE_TYPE(double, kF64);
#undef REALM_GGUF_VALUE_TYPE

template <class T>
inline constexpr ValueType value_type_of = ValueTypeOf<T>::value;

// Calls visit(std::type_identity<T>{}) with the C++ type of a number or bool type.
template <class Visit>
auto with_number_type(ValueType type, Visit visit) {
  switch (type) {
    case ValueType::kU8:
      return visit(std::type_identity<uint8_t>{});
    case ValueType::kI8:
      return visit(std::type_identity<int8_t>{});
    case ValueType::kU16:
      return visit(std::type_identity<uint16_t>{});
    case ValueType::kI16:
      return visit(std::type_identity<int16_t>{});
    case ValueType::kU32:
      return visit(std::type_identity<uint32_t>{});
    case ValueType::kI32:
      return visit(std::type_identity<int32_t>{});
    case ValueType::kF32:
      return visit(std::type_identity<float>{});
    case ValueType::kBool:
      return visit(std::type_identity<bool>{});
    case ValueType::kU64:
      return visit(std::type_identity<uint64_t>{});
    case ValueType::kI64:
      return visit(std::type_identity<int64_t>{});
    case ValueType::kF64:
      return visit(std::type_identity<double>{});
    case ValueType::kText:
    case ValueType::kArray:
      break;
  }
  fail(ErrorCode::kInternal, name_of(type), " is not a number type");
}

}  // namespace realm::gguf
