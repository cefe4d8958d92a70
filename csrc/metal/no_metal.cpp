// Stands in for the Metal backend in builds without it.
#include "backend/backend.h"
#include "backend/registry.h"
#include "base/error.h"

namespace realm {

namespace {

#ifdef __APPLE__
constexpr char kWhy[] = "this build has no Metal backend";
#else
constexpr char kWhy[] = "this build has no Metal backend: it is not for macOS";
#endif

}  // namespace

BackendProbe probe_metal() {
  return {"metal", false, kWhy, {}};
}

std::unique_ptr<Backend> make_metal_backend(bool) {
  fail(ErrorCode::kDevice, "device metal: ", kWhy);
}

}  // namespace realm
