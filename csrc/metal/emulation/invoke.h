// Calls a shader function as a dispatch would: each argument is what the parameter's attribute in
// the source asks for. Included where kernels are C++, and by the runtime.
#pragma once

#include <functional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "gpu/emulation/machine.h"
#include "metal/emulation/signatures.h"

namespace realm::simt {

// What a dispatch binds. The kernel's constants are the last buffer.
struct Bound {
  const Signature* signature;
  std::vector<void*> buffers;
};

// Runs one thread; called on the emulated device.
using Invoker = std::function<void(const Bound&)>;

struct NamedKernel {
  const char* name;
  Invoker invoke;
};
// All kernels, compiled from the text of metal/kernels.h's kKernelSource.
const std::vector<NamedKernel>& compiled_kernels();

inline Index position(Ask ask) {
  const ThreadState& at = self();
  switch (ask) {
    case Ask::kGroupInGrid:
      return at.block;
    case Ask::kThreadInGroup:
      return at.thread;
    case Ask::kThreadsPerGroup:
      return at.block_size;
    case Ask::kThreadIndex:
      return {static_cast<unsigned>(at.linear), 0, 0};
    case Ask::kSimdIndex:
      return {static_cast<unsigned>(at.linear / kWarp), 0, 0};
    case Ask::kLane:
      return {static_cast<unsigned>(at.linear % kWarp), 0, 0};
    default:
      return {at.block.x * at.block_size.x + at.thread.x,
              at.block.y * at.block_size.y + at.thread.y,
              at.block.z * at.block_size.z + at.thread.z};
  }
}

template <class T>
T argument(const Bound& bound, const Parameter& parameter) {
  if constexpr (std::is_pointer_v<T>) {
    return static_cast<T>(parameter.ask == Ask::kThreadgroup
                              ? dynamic_shared()
                              : bound.buffers[static_cast<size_t>(parameter.index)]);
  } else if constexpr (std::is_reference_v<T>) {
    using Value = std::remove_reference_t<T>;
    return *static_cast<Value*>(bound.buffers[static_cast<size_t>(parameter.index)]);
  } else if constexpr (std::is_integral_v<T>) {
    return position(parameter.ask).x;
  } else if constexpr (sizeof(T) == 2 * sizeof(unsigned)) {
    const Index at = position(parameter.ask);
    return {at.x, at.y};
  } else {
    const Index at = position(parameter.ask);
    return {at.x, at.y, at.z};
  }
}

template <class... Types, size_t... kAt>
void invoke(void (*function)(Types...), const Bound& bound, std::index_sequence<kAt...>) {
  function(argument<Types>(bound, bound.signature->parameters[kAt])...);
}

template <class... Types>
Invoker invoker(void (*function)(Types...)) {
  return [function](const Bound& bound) {
    invoke(function, bound, std::index_sequence_for<Types...>());
  };
}

}  // namespace realm::simt
