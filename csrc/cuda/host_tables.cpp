#include "cuda/host_tables.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace realm::cuda {

namespace {

constexpr size_t kLeastBytes = size_t{4} << 20;  // a decode step's plans, of every layer

}  // namespace

const std::byte* HostTables::find(size_t hash, std::span<const std::byte> bytes) const {
  const auto [first, last] = entries_.equal_range(hash);
  for (auto entry = first; entry != last; ++entry) {
    const auto& [at, n] = entry->second;
    if (n == bytes.size() && std::memcmp(copy_.data() + at, bytes.data(), n) == 0)
      return base_ + at;
  }
  return nullptr;
}

const std::byte* HostTables::put(std::span<const std::byte> bytes, Stream stream) {
  const size_t hash =
      std::hash<std::string_view>{}({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (const std::byte* found = find(hash, bytes)) return found;
  if (used_ + bytes.size() > copy_.size()) {
    entries_.clear();
    used_ = 0;
    if (bytes.size() > copy_.size()) {
      copy_.clear();  // if there is no memory, nothing is held
      const size_t n = std::max(kLeastBytes, 4 * bytes.size());
      base_ = memory_.reserve(n);
      copy_.resize(n);
    }
  }
  const size_t at = used_;
  std::memcpy(copy_.data() + at, bytes.data(), bytes.size());
  copy_to_device(base_ + at, bytes.data(), bytes.size(), stream);
  entries_.emplace(hash, Entry{at, bytes.size()});
  used_ = std::min(copy_.size(), (at + bytes.size() + 15) / 16 * 16);
  return base_ + at;
}

}  // namespace realm::cuda
