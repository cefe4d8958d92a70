// Who uses which block of a cache. A block is a page of the backend: the keys and values of
// `block_tokens` positions. It is free, or in use by one or more tables, or parked: used by none,
// its contents kept because the prefix index has a name for them. Parked blocks are given away when
// no free one is left.
//
// Host bookkeeping; nothing here touches a block's memory. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kv/prefix_index.h"

namespace realm {

class BlockPool {
 public:
  BlockPool(int64_t n_blocks, int64_t block_tokens);

  int64_t size() const { return n_blocks_; }
  int64_t block_tokens() const { return index_.block_tokens(); }
  // In use by some table.
  int64_t n_used() const { return n_ever_ - n_free() - index_.n_parked(); }
  // Could be taken now: free and parked ones.
  int64_t n_available() const { return n_blocks_ - n_used(); }
  int64_t n_parked() const { return index_.n_parked(); }

  // A block with undefined contents for one user of `space`; none when all are in use. Free blocks
  // go first, low numbers before high ones, so that memory is committed as it is needed.
  std::optional<BlockId> take(const Namespace& space);
  // One user more, one user less of a block in use.
  void share(BlockId block);
  void release(BlockId block) noexcept;
  int32_t n_users(BlockId block) const { return users_[static_cast<size_t>(block)]; }

  // Where the numbers of blocks that are taken are noted from now on; null for nowhere.
  void note_taken(std::vector<BlockId>* log) { log_ = log; }

  // The block with these contents, in use or parked; no user is added.
  std::optional<BlockId> find(const PrefixName& name) const { return index_.find(name); }
  // Adds a user to a block that find() gave.
  void adopt(BlockId block);
  // Names a block in use, whose contents must not change from now on. False if another block has
  // that name: the caller's then stays nameless.
  bool publish(BlockId block, const PrefixName& name);
  // Takes the name off a block in use, so that it may be written again.
  void withdraw(BlockId block);

 private:
  bool park(BlockId block) noexcept;
  int64_t n_free() const { return static_cast<int64_t>(free_.size()); }

  const int64_t n_blocks_;
  int64_t n_ever_ = 0;  // blocks below were taken at least once
  std::vector<int32_t> users_;
  std::vector<BlockId> free_;  // of those below n_ever_
  PrefixIndex index_;
  std::vector<BlockId>* log_ = nullptr;
};

}  // namespace realm
