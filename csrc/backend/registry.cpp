#include "backend/registry.h"

#include <charconv>
#include <cstdlib>

#include "backend/backend.h"
#include "base/error.h"

namespace realm {

namespace {

// The N of "cuda:N", -1 for anything else.
int cuda_index(std::string_view device) {
  constexpr std::string_view kPrefix = "cuda:";
  if (device.substr(0, kPrefix.size()) != kPrefix) return -1;
  const std::string_view digits = device.substr(kPrefix.size());
  int index = -1;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  return status == std::errc() && end == digits.data() + digits.size() ? index : -1;
}

// What "auto" means in this process.
std::string automatic_device() {
  const char* named = std::getenv("REALM_BACKEND");
  return named && *named ? named : "cpu";
}

}  // namespace

std::unique_ptr<Backend> make_backend(const std::string& name, int n_threads,
                                      ActivationKind activations, bool deterministic) {
  const std::string device = name == "auto" ? automatic_device() : name;
  if (device == "cpu") return make_cpu_backend(n_threads, activations);
  if (device == "metal") return make_metal_backend(deterministic);
  const int index = device == "cuda" ? 0 : cuda_index(device);
  REALM_CHECK(index >= 0, "device ", quoted(device),
              " is none of 'auto', 'cpu', 'cuda', 'cuda:N', 'metal'");
  return make_cuda_backend(index, deterministic, activations);
}

std::vector<BackendProbe> probe_backends() {
  return {probe_cpu(), probe_cuda(), probe_metal()};
}

}  // namespace realm
