// The memory behind keys and values: for each layer a buffer of pages on the backend. Layers with a
// sliding window may have fewer pages than the others, as they need only what the window sees. It
// holds bytes and knows no sequences; who owns which page is the caller's bookkeeping.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"

namespace realm {

// Pages of each layer: those that see everything, and those with a sliding window.
struct KvPages {
  int64_t global = 0, window = 0;
};

class KvStorage {
 public:
  // Reserves the memory; a system that commits lazily gives it as pages are written.
  KvStorage(Backend& backend, const ModelConfig& config, KvType type, KvPages pages);
  // Every layer alike.
  KvStorage(Backend& backend, const ModelConfig& config, KvType type, int64_t n_pages)
      : KvStorage(backend, config, type, KvPages{n_pages, n_pages}) {}

  uint64_t bytes() const;
  KvLayer layer(int64_t index) const { return layers_[static_cast<size_t>(index)]; }
  std::span<const KvLayer> layers() const { return layers_; }

  // Bytes of one page in all layers without and with a sliding window.
  struct PageBytes {
    uint64_t global = 0, window = 0;
  };
  static PageBytes page_bytes(const Backend& backend, const ModelConfig& config, KvType type);

 private:
  std::vector<std::unique_ptr<Buffer>> memory_;  // of each layer
  std::vector<KvLayer> layers_;
};

}  // namespace realm
