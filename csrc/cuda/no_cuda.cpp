// Stands in for the CUDA backend in builds without it.
#include "backend/backend.h"
#include "backend/registry.h"
#include "base/error.h"

namespace realm {

BackendProbe probe_cuda() {
  return {"cuda", false, "this build has no CUDA backend", {}};
}

std::unique_ptr<Backend> make_cuda_backend(int device, bool, ActivationKind) {
  fail(ErrorCode::kDevice, "device cuda:", device, ": this build has no CUDA backend");
}

}  // namespace realm
