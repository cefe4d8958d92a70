// What the kernels of a shader source declare: their names, parameters and bindings, read from the
// text itself. The emulated device passes arguments by it, and tests compare it with the host's
// table. Understands the plain style of this room: definitions `kernel void name(...)`, and
// instantiations of templates that carry a host_name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace realm::simt {

// What an attribute asks for.
enum class Ask {
  kNothing,  // no attribute, or an unknown one
  kBuffer,
  kThreadgroup,
  kThreadInGrid,
  kGroupInGrid,
  kThreadInGroup,
  kThreadsPerGroup,
  kThreadIndex,
  kSimdIndex,
  kLane,
};

struct Parameter {
  std::string type;  // "device const float*", in single spaces
  std::string name;
  Ask ask = Ask::kNothing;
  int index = 0;  // of a buffer or of threadgroup memory
};

struct Signature {
  std::string name;
  std::vector<Parameter> parameters;
};

// Throws kInternal where the text is in no style that it understands.
std::vector<Signature> declared_kernels(std::string_view source);

// The buffers' types in the order of their indices, as metal/kernels.h writes them.
std::string bindings_of(const Signature& kernel);
// What Metal's compiler would refuse, or the host cannot bind: pointers without an address space,
// indices that leave a gap, positions of different dimensions. Empty if nothing.
std::string problem_of(const Signature& kernel);

}  // namespace realm::simt
