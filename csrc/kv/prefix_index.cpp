#include "kv/prefix_index.h"

#include <algorithm>

#include "base/error.h"

namespace realm {

Sha256Digest chain_root(const Namespace& space, std::span<const Sha256Digest> identities) {
  Sha256 hash;
  hash.update(space);
  hash.update_number(static_cast<uint64_t>(identities.size()));
  for (const Sha256Digest& identity : identities) hash.update(identity);
  return hash.finish();
}

Sha256Digest chain_link(const Sha256Digest& before, std::span<const int32_t> tokens) {
  Sha256 hash;
  hash.update(before);
  hash.update(std::as_bytes(tokens));
  return hash.finish();
}

PrefixIndex::PrefixIndex(int64_t n_blocks, int64_t block_tokens)
    : n_blocks_(n_blocks), block_tokens_(block_tokens) {}

bool PrefixIndex::is_named(BlockId block) const {
  return static_cast<size_t>(block) < entries_.size() && entry(block).named;
}

bool PrefixIndex::is_parked(BlockId block) const {
  return static_cast<size_t>(block) < entries_.size() && entry(block).parked;
}

std::span<const int32_t> PrefixIndex::tokens_of(BlockId block) const {
  return std::span(tokens_).subspan(static_cast<size_t>(block * block_tokens_),
                                    static_cast<size_t>(block_tokens_));
}

std::optional<BlockId> PrefixIndex::find(const PrefixName& name) const {
  const auto at = blocks_.find(name.chain);
  if (at == blocks_.end() || entry(at->second).space != name.space) return std::nullopt;
  if (!std::ranges::equal(tokens_of(at->second), name.tokens)) return std::nullopt;
  return at->second;
}

bool PrefixIndex::insert(BlockId block, const PrefixName& name) {
  REALM_DCHECK(block >= 0 && block < n_blocks_ && !is_named(block));
  REALM_DCHECK(static_cast<int64_t>(name.tokens.size()) == block_tokens_);
  if (blocks_.contains(name.chain)) return false;
  const auto n = static_cast<size_t>(block) + 1;
  if (n > entries_.size()) {
    tokens_.resize(n * static_cast<size_t>(block_tokens_));
    entries_.resize(n);
  }
  blocks_.emplace(name.chain, block);
  entry(block) = {.named = true, .chain = name.chain, .space = name.space};
  std::ranges::copy(name.tokens, tokens_.begin() + block * block_tokens_);
  return true;
}

void PrefixIndex::forget(BlockId block) {
  REALM_DCHECK(is_named(block) && !is_parked(block));
  blocks_.erase(entry(block).chain);
  entry(block).named = false;
}

// Moves no memory but the set's own node: parking and unparking a namespace's further blocks cannot
// fail.
void PrefixIndex::count(Shares::iterator share, int64_t change) {
  auto size = sizes_.extract({share->second.count, share->first});
  share->second.count += change;
  n_parked_ += change;
  if (share->second.count == 0) {
    shares_.erase(share);
    return;
  }
  size.value().first = share->second.count;
  sizes_.insert(std::move(size));
}

PrefixIndex::Shares::iterator PrefixIndex::share_of(const Namespace& space) {
  const auto [share, is_new] = shares_.try_emplace(space);
  if (!is_new) return share;
  try {
    sizes_.insert({0, space});
  } catch (...) {
    shares_.erase(share);
    throw;
  }
  return share;
}

void PrefixIndex::park(BlockId block) {
  REALM_DCHECK(is_named(block) && !is_parked(block));
  Entry& here = entry(block);
  const auto share = share_of(here.space);
  here.parked = true;
  here.older = share->second.newest;
  here.newer = kNoBlock;
  (here.older == kNoBlock ? share->second.oldest : entry(here.older).newer) = block;
  share->second.newest = block;
  count(share, 1);
}

void PrefixIndex::unpark(BlockId block) {
  REALM_DCHECK(is_parked(block));
  Entry& here = entry(block);
  const auto share = shares_.find(here.space);
  (here.older == kNoBlock ? share->second.oldest : entry(here.older).newer) = here.newer;
  (here.newer == kNoBlock ? share->second.newest : entry(here.newer).older) = here.older;
  here.parked = false;
  count(share, -1);
}

const Namespace& PrefixIndex::victim(const Namespace& asking) const {
  const auto& [most, crowded] = *sizes_.rbegin();
  const bool is_above_share = most * static_cast<int64_t>(shares_.size()) > n_blocks_;
  return is_above_share || !shares_.contains(asking) ? crowded : asking;
}

BlockId PrefixIndex::evict(const Namespace& space) {
  REALM_DCHECK(n_parked_ > 0);
  const BlockId block = shares_.find(victim(space))->second.oldest;
  unpark(block);
  forget(block);
  return block;
}

}  // namespace realm
