#include "model/kv_storage.h"

#include "base/checked_math.h"
#include "base/error.h"

namespace realm {

KvStorage::KvStorage(Backend& backend, const ModelConfig& config, KvType type, int64_t n_pages)
    : type_(type),
      n_kv_heads_(config.n_kv_heads),
      head_width_(config.head_width),
      n_pages_(n_pages) {
  const auto page = static_cast<uint64_t>(backend.kv_page_bytes(type, n_kv_heads_, head_width_));
  const auto bytes = checked_mul(page, static_cast<uint64_t>(n_pages));
  REALM_CHECK(n_pages >= 0 && bytes, "a cache of ", n_pages, " pages of ", page, " bytes");
  for (int64_t i = 0; i < config.n_layers; ++i) layers_.push_back(backend.allocate(*bytes));
}

uint64_t KvStorage::bytes() const {
  uint64_t total = 0;
  for (const auto& layer : layers_) total += layer->bytes();
  return total;
}

KvLayer KvStorage::layer(int64_t index) const {
  return {layers_[static_cast<size_t>(index)]->data(), type_, n_kv_heads_, head_width_, n_pages_};
}

uint64_t KvStorage::page_bytes(const Backend& backend, const ModelConfig& config, KvType type) {
  return static_cast<uint64_t>(config.n_layers *
                               backend.kv_page_bytes(type, config.n_kv_heads, config.head_width));
}

}  // namespace realm
