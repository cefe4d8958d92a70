#include "cuda/launch_counts.h"

namespace realm::cuda {

namespace {

thread_local LaunchCounts* counting = nullptr;

std::string_view name_of(std::string_view spelled) {
  if (spelled.starts_with('(')) spelled.remove_prefix(1);
  return spelled.substr(0, spelled.find('<'));
}

}  // namespace

LaunchCounts::Here::Here(LaunchCounts& counts) : before_(counting) {
  counting = &counts;
}

LaunchCounts::Here::~Here() {
  counting = before_;
}

std::vector<std::pair<std::string, uint64_t>> LaunchCounts::by_name() const {
  const std::lock_guard lock(mutex_);
  return {counts_.begin(), counts_.end()};
}

void count_launch(const char* kernel) {
  if (!counting) return;
  const std::lock_guard lock(counting->mutex_);
  auto& counts = counting->counts_;
  const std::string_view name = name_of(kernel);
  const auto found = counts.find(name);
  if (found != counts.end()) {
    ++found->second;
  } else {
    counts.emplace(name, 1);
  }
}

}  // namespace realm::cuda
