#include "kv/block_pool.h"

#include <limits>
#include <new>

#include "base/error.h"

namespace realm {

BlockPool::BlockPool(int64_t n_blocks, int64_t block_tokens)
    : n_blocks_(n_blocks), index_(n_blocks, block_tokens) {
  REALM_CHECK(n_blocks >= 0 && n_blocks <= std::numeric_limits<BlockId>::max() && block_tokens >= 1,
              "a pool of ", n_blocks, " blocks of ", block_tokens, " tokens");
}

std::optional<BlockId> BlockPool::take(const Namespace& space) {
  BlockId block;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (n_ever_ < n_blocks_) {
    users_.push_back(0);
    // Never more free blocks than were taken: release() need not allocate.
    if (free_.capacity() < users_.size()) free_.reserve(users_.capacity());
    block = static_cast<BlockId>(n_ever_++);
  } else if (index_.n_parked() > 0) {
    block = index_.evict(space);
  } else {
    return std::nullopt;
  }
  users_[static_cast<size_t>(block)] = 1;
  if (log_) log_->push_back(block);
  return block;
}

void BlockPool::share(BlockId block) {
  REALM_DCHECK(n_users(block) > 0);
  ++users_[static_cast<size_t>(block)];
}

void BlockPool::adopt(BlockId block) {
  if (index_.is_parked(block)) index_.unpark(block);
  ++users_[static_cast<size_t>(block)];
}

void BlockPool::release(BlockId block) noexcept {
  if (--users_[static_cast<size_t>(block)] > 0) return;
  if (!park(block)) free_.push_back(block);
}

// Keeps a named block's contents; without memory for that, the name goes and the block is free.
bool BlockPool::park(BlockId block) noexcept {
  if (!index_.is_named(block)) return false;
  try {
    index_.park(block);
    return true;
  } catch (const std::bad_alloc&) {
    index_.forget(block);
    return false;
  }
}

bool BlockPool::publish(BlockId block, const PrefixName& name) {
  REALM_DCHECK(n_users(block) > 0);
  return index_.insert(block, name);
}

void BlockPool::withdraw(BlockId block) {
  REALM_DCHECK(n_users(block) > 0);
  if (index_.is_named(block)) index_.forget(block);
}

}  // namespace realm
