// Guesses by looking back: what followed the longest recent repetition of the last tokens, in the
// prompt or in the output. Costs no forward, and is nearly always right where a text copies itself.
//
// An index is a hash chain over pairs of tokens, as dictionary compressors keep them: constant time
// and 16 bytes per token at most, and a lookup compares a bounded number of places over a bounded
// length, whatever the text.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/speculative/drafter.h"

namespace realm {

// Where a growing text repeats itself. It does not hold the text: each call passes it again, no
// token changed, maybe longer.
class NgramIndex {
 public:
  static constexpr int64_t kMinMatch = 2;        // tokens that must repeat
  static constexpr int64_t kMaxMatch = 32;       // longer repetitions count as equally good
  static constexpr int64_t kMaxCandidates = 32;  // places looked at
  static constexpr int64_t kMaxIndexed = int64_t{1} << 24;  // tokens; those after it are not found

  // Appends to `out` up to `n_wanted` tokens that could follow `text`; none if its end never
  // occurred before.
  void propose(std::span<const int32_t> text, int64_t n_wanted, std::vector<int32_t>& out);

  uint64_t bytes() const { return (heads_.capacity() + previous_.capacity()) * sizeof(int32_t); }

 private:
  void index(std::span<const int32_t> text);
  void grow(std::span<const int32_t> text);
  void insert(std::span<const int32_t> text, size_t end);
  size_t bucket(std::span<const int32_t> text, size_t end) const;
  size_t best_match(std::span<const int32_t> text) const;

  // heads_[bucket] is the last place whose pair falls there, previous_[place] the one before it; a
  // place is the index after its pair, 0 is none.
  std::vector<int32_t> heads_;
  std::vector<int32_t> previous_;
};

class NgramDrafter final : public Drafter {
 public:
  void propose(std::span<const DraftRequest> requests, std::span<Draft> drafts) override;
  void settle(uint64_t id, size_t n_accepted) noexcept override;
  void forget(uint64_t id) noexcept override;

  uint64_t bytes() const;

 private:
  std::unordered_map<uint64_t, NgramIndex> indices_;
};

}  // namespace realm
