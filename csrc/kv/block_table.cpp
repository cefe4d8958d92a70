#include "kv/block_table.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace realm {

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(other.pool_),
      space_(other.space_),
      blocks_(std::exchange(other.blocks_, {})),
      n_dropped_(std::exchange(other.n_dropped_, 0)) {}

size_t BlockTable::blocks_for(int64_t n_tokens) const {
  return static_cast<size_t>((n_tokens + pool_->block_tokens() - 1) / pool_->block_tokens());
}

bool BlockTable::grow(int64_t n_tokens) {
  const size_t n_before = blocks_.size(), n_after = std::max(n_before, blocks_for(n_tokens));
  if (static_cast<int64_t>(n_after - n_before) > pool_->n_available()) return false;
  blocks_.reserve(n_after);
  while (blocks_.size() < n_after) blocks_.push_back(*pool_->take(space_));
  return true;
}

void BlockTable::adopt(BlockId block) {
  blocks_.reserve(blocks_.size() + 1);
  if (block != kNoBlock) pool_->adopt(block);
  if (block == kNoBlock && n_dropped_ == blocks_.size()) ++n_dropped_;
  blocks_.push_back(block);
}

void BlockTable::truncate(int64_t n_tokens) noexcept {
  const size_t n_after = std::min(blocks_.size(), blocks_for(n_tokens));
  while (blocks_.size() > n_after) {
    if (blocks_.back() != kNoBlock) pool_->release(blocks_.back());
    blocks_.pop_back();
  }
  n_dropped_ = std::min(n_dropped_, blocks_.size());
}

void BlockTable::drop_before(int64_t pos) noexcept {
  const auto n_after = static_cast<size_t>(std::max<int64_t>(0, pos) / pool_->block_tokens());
  for (; n_dropped_ < std::min(n_after, blocks_.size()); ++n_dropped_) {
    BlockId& block = blocks_[n_dropped_];
    if (block != kNoBlock) pool_->release(std::exchange(block, kNoBlock));
  }
}

BlockTable BlockTable::fork() const {
  BlockTable twin(*pool_, space_);
  twin.blocks_ = blocks_;
  twin.n_dropped_ = n_dropped_;
  for (const BlockId block : blocks_) {
    if (block != kNoBlock) pool_->share(block);
  }
  return twin;
}

bool BlockTable::make_writable(int64_t pos, Copy& copy) {
  BlockId& block = blocks_[static_cast<size_t>(pos / pool_->block_tokens())];
  copy = {block, block};
  if (pool_->n_users(block) == 1) {
    pool_->withdraw(block);
    return true;
  }
  const std::optional<BlockId> own = pool_->take(space_);
  if (!own) return false;
  pool_->release(block);
  block = copy.to = *own;
  return true;
}

}  // namespace realm
