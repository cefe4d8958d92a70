#include "kv/kv_space.h"

#include <algorithm>
#include <new>

#include "base/error.h"

namespace realm {

KvSpace::KvSpace(const KvSpaceShape& shape) : shape_(shape) {
  if (shape.has_global) global_.emplace(shape.n_global_blocks, shape.block_tokens);
  if (shape.window > 0) window_.emplace(shape.n_window_blocks, shape.block_tokens);
}

int64_t KvSpace::n_blocks() const {
  return (global_ ? global_->size() : 0) + (window_ ? window_->size() : 0);
}

int64_t KvSpace::n_used() const {
  return (global_ ? global_->n_used() : 0) + (window_ ? window_->n_used() : 0);
}

int64_t KvSpace::n_parked() const {
  return (global_ ? global_->n_parked() : 0) + (window_ ? window_->n_parked() : 0);
}

void KvSpace::note_taken(std::vector<BlockId>* global, std::vector<BlockId>* window) {
  if (global_) global_->note_taken(global);
  if (window_) window_->note_taken(window);
}

int64_t KvSpace::global_blocks_for(int64_t n_tokens) const {
  return global_ ? (n_tokens + shape_.block_tokens - 1) / shape_.block_tokens : 0;
}

int64_t KvSpace::window_blocks_for(int64_t n_tokens) const {
  if (!window_) return 0;
  const int64_t whole = (n_tokens + shape_.block_tokens - 1) / shape_.block_tokens;
  // A chunk and the window before it begin and end inside a block.
  const int64_t seen = shape_.window + shape_.max_chunk;
  return std::min(whole, (seen + shape_.block_tokens - 1) / shape_.block_tokens + 1);
}

bool KvSpace::can_hold(int64_t n_tokens) const {
  return global_blocks_for(n_tokens) <= shape_.n_global_blocks &&
         window_blocks_for(n_tokens) <= shape_.n_window_blocks;
}

bool KvSpace::has_room_for(int64_t n_tokens, int64_t spare) const {
  const auto fits = [spare](const std::optional<BlockPool>& pool, int64_t n) {
    return !pool || n + spare <= pool->n_available();
  };
  return fits(global_, global_blocks_for(n_tokens)) && fits(window_, window_blocks_for(n_tokens));
}

KvSequence::KvSequence(KvSpace& space, const Namespace& tenant, const Sha256Digest& root)
    : space_(space), tenant_(tenant), root_(root) {
  if (space.global_) global_.emplace(*space.global_, tenant_);
  if (space.window_) window_.emplace(*space.window_, tenant_);
}

PrefixName KvSequence::name(size_t block, std::span<const int32_t> tokens) {
  const auto n = static_cast<size_t>(space_.shape_.block_tokens);
  while (chain_.size() <= block) {
    const Sha256Digest& before = chain_.empty() ? root_ : chain_.back();
    chain_.push_back(chain_link(before, tokens.subspan(chain_.size() * n, n)));
  }
  return {chain_[block], tenant_, tokens.subspan(block * n, n)};
}

// The first block that holds a key which the row after n_blocks blocks sees through the window.
size_t KvSequence::first_seen_block(size_t n_blocks) const {
  const int64_t pos = static_cast<int64_t>(n_blocks) * space_.shape_.block_tokens;
  const int64_t first = std::max<int64_t>(0, pos - space_.shape_.window + 1);
  return static_cast<size_t>(first / space_.shape_.block_tokens);
}

size_t KvSequence::n_global_hits(std::span<const int32_t> tokens, size_t limit) {
  if (!space_.global_) return limit;
  size_t n = 0;
  while (n < limit && space_.global_->find(name(n, tokens))) ++n;
  return n;
}

// The longest beginning, `limit` blocks at most, whose last window is in the cache.
size_t KvSequence::n_window_hits(std::span<const int32_t> tokens, size_t limit) {
  if (!space_.window_) return limit;
  size_t best = 0, run = 0;  // `run`: blocks found in a row, up to the present one
  for (size_t n = 1; n <= limit; ++n) {
    run = space_.window_->find(name(n - 1, tokens)) ? run + 1 : 0;
    if (run >= n - first_seen_block(n)) best = n;
  }
  return best;
}

int64_t KvSequence::adopt_prefix(std::span<const int32_t> tokens) {
  if (!space_.shape_.keep_prefixes || tokens.empty()) return 0;
  const auto block_tokens = static_cast<size_t>(space_.shape_.block_tokens);
  const size_t limit = (tokens.size() - 1) / block_tokens;
  const size_t n = n_window_hits(tokens, n_global_hits(tokens, limit));
  const size_t first_seen = first_seen_block(n);
  for (size_t i = 0; i < n; ++i) {
    if (global_) global_->adopt(*space_.global_->find(name(i, tokens)));
    if (window_) window_->adopt(i < first_seen ? kNoBlock : *space_.window_->find(name(i, tokens)));
  }
  n_published_ = n;
  return static_cast<int64_t>(n * block_tokens);
}

bool KvSequence::reserve_global(int64_t n_tokens) {
  return !global_ || global_->grow(n_tokens);
}

bool KvSequence::reserve(int64_t first_pos, int64_t end_pos) {
  if (window_) window_->drop_before(first_pos - space_.shape_.window + 1);
  return reserve_global(end_pos) && (!window_ || window_->grow(end_pos));
}

void KvSequence::publish(std::span<const int32_t> tokens, int64_t n_computed) {
  if (!space_.shape_.keep_prefixes) return;
  const auto n = static_cast<size_t>(n_computed / space_.shape_.block_tokens);
  try {
    for (; n_published_ < n; ++n_published_) publish_block(n_published_, tokens);
  } catch (const std::bad_alloc&) {  // what has no name is not found again, no more
  }
}

void KvSequence::publish_block(size_t index, std::span<const int32_t> tokens) {
  const PrefixName here = name(index, tokens);
  if (global_) space_.global_->publish(global_->blocks()[index], here);
  if (!window_) return;
  const BlockId block = window_->blocks()[index];
  if (block != kNoBlock) space_.window_->publish(block, here);
}

void KvSequence::truncate(int64_t n_tokens) noexcept {
  if (global_) global_->truncate(n_tokens);
  if (window_) window_->truncate(n_tokens);
  const auto n_whole = static_cast<size_t>(n_tokens / space_.shape_.block_tokens);
  n_published_ = std::min(n_published_, n_whole);
}

std::span<const BlockId> KvSequence::global_blocks() const {
  return global_ ? global_->blocks() : std::span<const BlockId>();
}

std::span<const BlockId> KvSequence::window_blocks() const {
  return window_ ? window_->blocks() : std::span<const BlockId>();
}

}  // namespace realm
