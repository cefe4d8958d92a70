#include "backend/registry.h"

namespace realm {

std::vector<BackendProbe> probe_backends() {
  return {probe_cpu(), probe_cuda(), probe_metal()};
}

}  // namespace realm
