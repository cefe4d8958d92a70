// Names for the contents of blocks, so that a request finds the keys and values that an earlier one
// with the same beginning left. A name is the last link of a chain of SHA-256 digests over
// everything the contents depend on (namespace, model, adapters, all tokens before); a hit is
// verified against the block's own tokens and namespace besides. Two namespaces share nothing, as
// every chain begins with its namespace.
//
// Parked blocks (in use by nobody) are evicted least recently used first, within one namespace:
// that which holds more than its fair share of the pool, the one with most of them first; else the
// namespace that asks; only if that has none, the one with most. So what a namespace keeps within
// its share answers to its own doings alone, and its timing tells nothing about what others asked.
//
// Host bookkeeping, one thread at a time. Memory is in proportion to the blocks ever named.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/sha256.h"

namespace realm {

using BlockId = int32_t;
constexpr BlockId kNoBlock = -1;

// Opaque; who shares with whom is the caller's affair.
using Namespace = std::array<std::byte, 32>;

// What a block holds: the tokens of its positions, after those that the chain stands for.
struct PrefixName {
  Sha256Digest chain;  // includes `tokens`
  const Namespace& space;
  std::span<const int32_t> tokens;  // a block's worth
};

// The first link of a chain: everything but tokens that keys and values depend on.
Sha256Digest chain_root(const Namespace& space, std::span<const Sha256Digest> identities);
// The link after `before` for a block of `tokens`.
Sha256Digest chain_link(const Sha256Digest& before, std::span<const int32_t> tokens);

class PrefixIndex {
 public:
  PrefixIndex(int64_t n_blocks, int64_t block_tokens);

  int64_t block_tokens() const { return block_tokens_; }
  int64_t n_parked() const { return n_parked_; }
  bool is_named(BlockId block) const;

  std::optional<BlockId> find(const PrefixName& name) const;
  // Names a nameless block; false if the name is taken.
  bool insert(BlockId block, const PrefixName& name);
  // Takes a block's name away; it must not be parked.
  void forget(BlockId block);

  // A named block is no longer used, and is now the most recent of its namespace; or used again.
  // Parking may throw std::bad_alloc, and has then done nothing.
  void park(BlockId block);
  void unpark(BlockId block);
  bool is_parked(BlockId block) const;
  // Gives up a parked block, its name and contents, for a user of `space`. There must be one.
  BlockId evict(const Namespace& space);

 private:
  // Parked blocks of a namespace, linked from the least to the most recently used.
  struct Share {
    BlockId oldest = kNoBlock, newest = kNoBlock;
    int64_t count = 0;
  };
  using Shares = std::map<Namespace, Share>;

  struct Entry {
    bool named = false, parked = false;
    Sha256Digest chain{};
    Namespace space{};
    BlockId older = kNoBlock, newer = kNoBlock;
  };

  Entry& entry(BlockId block) { return entries_[static_cast<size_t>(block)]; }
  const Entry& entry(BlockId block) const { return entries_[static_cast<size_t>(block)]; }
  std::span<const int32_t> tokens_of(BlockId block) const;
  Shares::iterator share_of(const Namespace& space);
  void count(Shares::iterator share, int64_t change);
  const Namespace& victim(const Namespace& asking) const;

  const int64_t n_blocks_, block_tokens_;
  int64_t n_parked_ = 0;
  std::vector<Entry> entries_;   // by block
  std::vector<int32_t> tokens_;  // of each block, one after another
  std::map<Sha256Digest, BlockId> blocks_;
  Shares shares_;                                  // of namespaces with parked blocks
  std::set<std::pair<int64_t, Namespace>> sizes_;  // of the same
};

}  // namespace realm
