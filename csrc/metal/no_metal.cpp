// Stands in for the Metal backend, which does not exist yet.
#include "backend/registry.h"

namespace realm {

BackendProbe probe_metal() {
  return {"metal", false, "this build has no Metal backend", {}};
}

}  // namespace realm
