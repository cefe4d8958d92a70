#include "model/kv_storage.h"

#include "base/checked_math.h"
#include "base/error.h"

namespace realm {

KvStorage::KvStorage(Backend& backend, const ModelConfig& config, KvType type, KvPages pages)
    : type_(type), n_kv_heads_(config.n_kv_heads), head_width_(config.head_width) {
  const auto page = static_cast<uint64_t>(backend.kv_page_bytes(type, n_kv_heads_, head_width_));
  for (int64_t i = 0; i < config.n_layers; ++i) {
    const int64_t n = config.has_window(i) ? pages.window : pages.global;
    const auto bytes = checked_mul(page, static_cast<uint64_t>(n));
    REALM_CHECK(n >= 0 && bytes, "a cache of ", n, " pages of ", page, " bytes");
    layers_.push_back(backend.allocate(*bytes));
    n_pages_.push_back(n);
  }
}

uint64_t KvStorage::bytes() const {
  uint64_t total = 0;
  for (const auto& layer : layers_) total += layer->bytes();
  return total;
}

KvLayer KvStorage::layer(int64_t index) const {
  const auto i = static_cast<size_t>(index);
  return {layers_[i]->data(), type_, n_kv_heads_, head_width_, n_pages_[i]};
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
