#include "engine/kv_sizing.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace realm {

namespace {

constexpr uint64_t kMaxPages = std::numeric_limits<int32_t>::max();

int64_t capped(uint64_t pages) {
  return static_cast<int64_t>(std::min(pages, kMaxPages));
}

}  // namespace

KvPages pages_for(const EngineOptions& options, const ModelConfig& config,
                  KvStorage::PageBytes page, int64_t page_tokens, uint64_t most) {
  const auto pages_of = [&](int64_t tokens) { return (tokens + page_tokens - 1) / page_tokens; };
  const int64_t context = pages_of(config.n_ctx);
  const int64_t window = std::min(context, pages_of(config.window + options.max_step_tokens) + 1);
  const auto n = static_cast<uint64_t>(options.max_sequences);
  const uint64_t all_contexts = n * static_cast<uint64_t>(context);
  const uint64_t all_windows = n * static_cast<uint64_t>(window);
  const uint64_t both = page.global + page.window;
  // Nothing here overflows: pages of a sequence are below 2^31, sequences are checked to be few,
  // and a page is smaller than the model's weights.
  const uint64_t needed = all_contexts * page.global + all_windows * page.window;
  const uint64_t budget = options.kv_bytes.value_or(std::min(needed, most));
  if (!options.kv_bytes && budget < both) {
    fail(ErrorCode::kOutOfMemory, "a cache of keys and values may take ", human_bytes(most),
         " of the memory that is left; one page of ", page_tokens, " tokens takes ",
         human_bytes(both));
  }
  REALM_CHECK(budget >= both, "kv_bytes is ", budget, "; one page of ", page_tokens,
              " tokens takes ", both, " bytes");
  const uint64_t windows = page.window == 0   ? 0
                           : page.global == 0 ? budget / page.window
                                              : std::min(budget / both, all_windows);
  const uint64_t globals = page.global == 0 ? 0 : (budget - windows * page.window) / page.global;
  return {capped(globals), capped(windows)};
}

}  // namespace realm
