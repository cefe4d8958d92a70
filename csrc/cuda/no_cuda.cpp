// Stands in for the CUDA backend in builds without it.
#include "backend/registry.h"

namespace realm {

BackendProbe probe_cuda() {
  return {"cuda", false, "this build has no CUDA backend", {}};
}

}  // namespace realm
