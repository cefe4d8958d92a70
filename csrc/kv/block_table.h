// The blocks of one sequence, in the order of its positions: block i holds the positions from
// i * block_tokens on. Growing takes blocks from a pool, truncating and dropping give them back; a
// fork shares all of them until one of the two writes. Blocks that a sliding window has left behind
// are kNoBlock. One thread at a time, that of the pool, which must outlive the table.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kv/block_pool.h"

namespace realm {

class BlockTable {
 public:
  BlockTable(BlockPool& pool, const Namespace& space) : pool_(&pool), space_(space) {}
  ~BlockTable() { truncate(0); }
  BlockTable(BlockTable&& other) noexcept;
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(BlockTable&&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;

  std::span<const BlockId> blocks() const { return blocks_; }

  // Makes the table reach over positions 0 .. n_tokens - 1. All or nothing: false if the pool has
  // too few blocks.
  bool grow(int64_t n_tokens);
  // Continues the table with a block that the pool found, or with kNoBlock.
  void adopt(BlockId block);
  // Gives back what holds no position below n_tokens, the last first, so that a parked beginning
  // outlives its continuation.
  void truncate(int64_t n_tokens) noexcept;
  // Gives back the blocks that end at or before position `pos`.
  void drop_before(int64_t pos) noexcept;

  // A second table over the same blocks.
  BlockTable fork() const;

  // Before position `pos` is written: `copy` says whether its block's contents must first be copied
  // to a block of this table's own (from != to). A block that is this table's alone loses its name,
  // if it has one. False if the pool has no block for the copy.
  struct Copy {
    BlockId from = kNoBlock, to = kNoBlock;
  };
  bool make_writable(int64_t pos, Copy& copy);

 private:
  size_t blocks_for(int64_t n_tokens) const;

  BlockPool* pool_;
  Namespace space_;
  std::vector<BlockId> blocks_;
  size_t n_dropped_ = 0;  // leading blocks that are gone
};

}  // namespace realm
