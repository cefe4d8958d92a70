#include "base/build_info.h"

namespace realm {

BuildInfo build_info() {
  return {REALM_VERSION, REALM_COMPILER, REALM_BUILD_TYPE, REALM_CUDA_COMPILER};
}

}  // namespace realm
