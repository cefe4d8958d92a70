#include "engine/token_history.h"

#include <algorithm>

#include "base/error.h"

namespace realm {

namespace {

bool lower_id(const TokenHistory::Seen& seen, int32_t token) {
  return seen.token < token;
}

}  // namespace

TokenHistory::TokenHistory(std::span<const int32_t> prompt) {
  std::vector<int32_t> tokens(prompt.begin(), prompt.end());
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  seen_.reserve(tokens.size());
  for (const int32_t token : tokens) seen_.push_back({token, true, 0});
}

void TokenHistory::push(int32_t token) {
  const auto at = std::lower_bound(seen_.begin(), seen_.end(), token, lower_id);
  if (at != seen_.end() && at->token == token) {
    ++at->n_output;
  } else {
    seen_.insert(at, {token, false, 1});
  }
}

void TokenHistory::pop(int32_t token) {
  const auto at = std::lower_bound(seen_.begin(), seen_.end(), token, lower_id);
  REALM_DCHECK(at != seen_.end() && at->token == token && at->n_output > 0);
  --at->n_output;
}

}  // namespace realm
