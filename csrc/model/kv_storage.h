// The memory behind keys and values: for each layer a buffer of pages on the backend. It holds
// bytes and knows no sequences; who owns which page is the caller's bookkeeping.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"

namespace realm {

class KvStorage {
 public:
  KvStorage(Backend& backend, const ModelConfig& config, KvType type, int64_t n_pages);

  int64_t n_pages() const { return n_pages_; }
  uint64_t bytes() const;
  KvLayer layer(int64_t index) const;

  // Bytes of one page over all layers.
  static uint64_t page_bytes(const Backend& backend, const ModelConfig& config, KvType type);

 private:
  std::vector<std::unique_ptr<Buffer>> layers_;
  KvType type_;
  int64_t n_kv_heads_, head_width_, n_pages_;
};

}  // namespace realm
