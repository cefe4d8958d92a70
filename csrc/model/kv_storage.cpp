#include "model/kv_storage.h"

#include "base/checked_math.h"
#include "base/error.h"

namespace realm {

KvStorage::KvStorage(Backend& backend, const ModelConfig& config, KvType type, KvPages pages) {
  const auto page =
      static_cast<uint64_t>(backend.kv_page_bytes(type, config.n_kv_heads, config.head_width));
  for (int64_t i = 0; i < config.n_layers; ++i) {
    const int64_t n = config.has_window(i) ? pages.window : pages.global;
    const auto bytes = checked_mul(page, static_cast<uint64_t>(n));
    REALM_CHECK(n >= 0 && bytes, "a cache of ", n, " pages of ", page, " bytes");
    memory_.push_back(backend.allocate(*bytes));
    layers_.push_back({memory_.back()->data(), type, config.n_kv_heads, config.head_width, n});
  }
}

uint64_t KvStorage::bytes() const {
  uint64_t total = 0;
  for (const auto& layer : memory_) total += layer->bytes();
  return total;
}

KvStorage::PageBytes KvStorage::page_bytes(const Backend& backend, const ModelConfig& config,
                                           KvType type) {
  const auto page =
      static_cast<uint64_t>(backend.kv_page_bytes(type, config.n_kv_heads, config.head_width));
  PageBytes bytes;
  for (int64_t i = 0; i < config.n_layers; ++i) {
    (config.has_window(i) ? bytes.window : bytes.global) += page;
  }
  return bytes;
}

}  // namespace realm
