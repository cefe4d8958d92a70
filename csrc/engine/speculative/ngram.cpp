#include "engine/speculative/ngram.h"

#include <algorithm>
#include <bit>

namespace realm {

namespace {

constexpr size_t kFirstBuckets = 256;

// Tokens before `a` and before `b` that are the same, up to `limit`.
int64_t common_suffix(std::span<const int32_t> text, size_t a, size_t b, int64_t limit) {
  int64_t n = 0;
  while (n < limit && a > 0 && b > 0 && text[a - 1] == text[b - 1]) --a, --b, ++n;
  return n;
}

}  // namespace

void NgramIndex::propose(std::span<const int32_t> text, int64_t n_wanted,
                         std::vector<int32_t>& out) {
  index(text);
  size_t from = best_match(text);
  if (from == 0) return;
  // A repetition that reaches the end of the text goes on with what is guessed.
  const size_t n_before = out.size();
  for (int64_t i = 0; i < n_wanted; ++i, ++from) {
    out.push_back(from < text.size() ? text[from] : out[n_before + from - text.size()]);
  }
}

// The last pair stays out: it is what the next lookup looks for.
void NgramIndex::index(std::span<const int32_t> text) {
  const size_t n = std::min(text.size(), static_cast<size_t>(kMaxIndexed));
  if (previous_.empty()) previous_.assign(static_cast<size_t>(kMinMatch), 0);
  if (n > heads_.size()) return grow(text.first(n));
  while (previous_.size() < n) insert(text, previous_.size());
}

void NgramIndex::grow(std::span<const int32_t> text) {
  heads_.assign(std::max(kFirstBuckets, std::bit_ceil(text.size())), 0);
  previous_.assign(static_cast<size_t>(kMinMatch), 0);
  while (previous_.size() < text.size()) insert(text, previous_.size());
}

void NgramIndex::insert(std::span<const int32_t> text, size_t end) {
  int32_t& head = heads_[bucket(text, end)];
  previous_.push_back(head);
  head = static_cast<int32_t>(end);
}

// Fibonacci hashing of the pair before `end`.
size_t NgramIndex::bucket(std::span<const int32_t> text, size_t end) const {
  const uint64_t pair =
      uint64_t{static_cast<uint32_t>(text[end - 1])} << 32 | static_cast<uint32_t>(text[end - 2]);
  return (pair * 0x9E3779B97F4A7C15) >> (64 - std::countr_zero(heads_.size()));
}

// The place after the longest repetition of the end of `text`, the latest of equals; 0 if none.
size_t NgramIndex::best_match(std::span<const int32_t> text) const {
  if (text.size() <= static_cast<size_t>(kMinMatch) || heads_.empty()) return 0;
  size_t best = 0;
  int64_t longest = kMinMatch - 1;
  auto place = static_cast<size_t>(heads_[bucket(text, text.size())]);
  for (int64_t i = 0; i < kMaxCandidates && place != 0 && longest < kMaxMatch; ++i) {
    const int64_t length = common_suffix(text, place, text.size(), kMaxMatch);
    if (length > longest) longest = length, best = place;
    place = static_cast<size_t>(previous_[place]);
  }
  return best;
}

void NgramDrafter::propose(std::span<const DraftRequest> requests, std::span<Draft> drafts) {
  for (size_t i = 0; i < requests.size(); ++i) {
    Draft& draft = drafts[i];
    indices_[requests[i].id].propose(requests[i].tokens, requests[i].n_wanted, draft.tokens);
    if (draft.tokens.empty()) draft.delay = "the last tokens occurred nowhere before";
  }
}

void NgramDrafter::settle(uint64_t, size_t) noexcept {}

void NgramDrafter::forget(uint64_t id) noexcept {
  indices_.erase(id);
}

uint64_t NgramDrafter::bytes() const {
  uint64_t sum = 0;
  for (const auto& [id, index] : indices_) sum += index.bytes();
  return sum;
}

}  // namespace realm
