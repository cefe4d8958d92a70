// The bookkeeping of a whole cache: which blocks each sequence holds. Layers come in two groups
// with a pool each, because layers with a sliding window give blocks back that the others still
// need; a model may have either group or both. A sequence has a table for each.
//
// Host bookkeeping, one thread at a time. Sequences must not outlive their space.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kv/block_table.h"

namespace realm {

struct KvSpaceShape {
  int64_t block_tokens = 16;
  bool has_global = true;  // layers that see everything
  int64_t window = 0;      // what the other layers see: a row itself and those before; 0: none such
  int64_t n_global_blocks = 0, n_window_blocks = 0;
  int64_t max_chunk = 1;  // rows of one sequence in one step at most
  bool keep_prefixes = true;
};

class KvSpace {
 public:
  explicit KvSpace(const KvSpaceShape& shape);

  const KvSpaceShape& shape() const { return shape_; }
  int64_t n_blocks() const;
  int64_t n_used() const;
  int64_t n_parked() const;

  // Notes blocks of the two groups as they are taken; the vectors must outlive the space.
  void note_taken(std::vector<BlockId>* global, std::vector<BlockId>* window);

  // Blocks that a sequence of `n_tokens` may need at once, in each group.
  int64_t global_blocks_for(int64_t n_tokens) const;
  int64_t window_blocks_for(int64_t n_tokens) const;
  int64_t blocks_for(int64_t n_tokens) const {
    return global_blocks_for(n_tokens) + window_blocks_for(n_tokens);
  }
  // Whether a sequence can reach `n_tokens` if it has the cache to itself.
  bool can_hold(int64_t n_tokens) const;
  // Whether it could start now, with `spare` blocks left over.
  bool has_room_for(int64_t n_tokens, int64_t spare) const;

 private:
  friend class KvSequence;

  const KvSpaceShape shape_;
  std::optional<BlockPool> global_, window_;
};

// Wherever a sequence's tokens are given, they are those of earlier calls, and more.
class KvSequence {
 public:
  // `root` stands for all that keys and values depend on, apart from the tokens.
  KvSequence(KvSpace& space, const Namespace& tenant, const Sha256Digest& root);

  // Of an empty sequence: takes over the blocks of the longest beginning of `tokens` that the cache
  // still has and that leaves at least one token to compute. Returns its length.
  int64_t adopt_prefix(std::span<const int32_t> tokens);

  // Blocks for the positions 0 .. n_tokens - 1 in the layers without a window. All or nothing.
  bool reserve_global(int64_t n_tokens);
  // Blocks for rows at first_pos .. end_pos - 1 and for what they see; what lies before every
  // window is given back. False if the cache has too few; what was given back stays given.
  bool reserve(int64_t first_pos, int64_t end_pos);
  // Keys and values of the first n_computed of `tokens` are computed: whole blocks get names, as
  // far as there is memory for them.
  void publish(std::span<const int32_t> tokens, int64_t n_computed);
  // Forgets the positions from n_tokens on, none of which was published.
  void truncate(int64_t n_tokens) noexcept;
  // Gives everything back.
  void clear() noexcept { truncate(0); }

  // Pages by position, as a backend wants them; empty for a group the model does not have.
  std::span<const BlockId> global_blocks() const;
  std::span<const BlockId> window_blocks() const;

 private:
  void publish_block(size_t index, std::span<const int32_t> tokens);
  PrefixName name(size_t block, std::span<const int32_t> tokens);
  size_t n_global_hits(std::span<const int32_t> tokens, size_t limit);
  size_t n_window_hits(std::span<const int32_t> tokens, size_t limit);
  size_t first_seen_block(size_t n_blocks) const;

  KvSpace& space_;
  const Namespace tenant_;
  const Sha256Digest root_;
  std::optional<BlockTable> global_, window_;
  std::vector<Sha256Digest> chain_;  // of the leading whole blocks
  size_t n_published_ = 0;           // blocks
};

}  // namespace realm
