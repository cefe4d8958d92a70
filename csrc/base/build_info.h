// What this binary is: for `doctor`, `realm_version` and bug reports. Constants, no state.
#pragma once

namespace realm {

struct BuildInfo {
  const char* version;     // "0.1.0"
  const char* compiler;    // "GNU 12.2.0"
  const char* build_type;  // "Release"; empty when the flags were given by hand
  const char* cuda;        // the compiler of the CUDA backend, empty when it was not built
};

BuildInfo build_info();

}  // namespace realm
