// How many pages of keys and values an engine gets. Pure arithmetic.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/kv_storage.h"
#include "realm/engine_options.h"

namespace realm {

// `page` is what a page takes in all layers of each kind; `most` what the cache may take if
// options.kv_bytes does not say. Layers with a sliding window get as many pages as the others, but
// not more than all requests' windows can fill. Throws kInvalidRequest if options.kv_bytes is too
// little for a single page, kOutOfMemory if `most` is.
KvPages pages_for(const EngineOptions& options, const ModelConfig& config,
                  KvStorage::PageBytes page, int64_t page_tokens, uint64_t most);

}  // namespace realm
