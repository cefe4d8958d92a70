// Finds the special tokens in a text before anything else looks at it: user-defined ones always,
// control tokens on request. Longer tokens are taken first wherever they stand, equally long ones
// in the order of their ids, and each from left to right; so "ab" and "bcd" split "abcd" into "a"
// and "bcd". (A search for the leftmost match, as in Hugging Face tokenizers, would give "ab" and
// "cd"; llama.cpp does as we do.) Constant after construction: safe to share.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/vocabulary.h"

namespace realm {

class SpecialSplitter {
 public:
  // A token, or text that has none.
  struct Piece {
    int32_t token = kNoToken;
    std::string_view text;  // where `token` is kNoToken; never empty
  };

  // `vocabulary` must outlive the splitter.
  explicit SpecialSplitter(const Vocabulary& vocabulary);

  // The pieces of `text` in order; they point into it. One pass finds which tokens occur at all,
  // then each of those takes one more.
  std::vector<Piece> split(std::string_view text, bool parse_special) const;

 private:
  // A range of by_text_.
  struct Candidates {
    uint32_t first = 0, last = 0;
  };

  std::string_view text_of(uint32_t rank) const { return vocabulary_.text(by_rank_[rank]); }
  Candidates narrow(Candidates candidates, size_t depth, char byte) const;
  std::vector<bool> occurring(std::string_view text) const;
  void split_by(int32_t token, std::string_view text, std::vector<Piece>& pieces) const;

  const Vocabulary& vocabulary_;
  std::vector<int32_t> by_rank_;   // ids of the special tokens, the longest text first
  std::vector<uint32_t> by_text_;  // their ranks, in order of the texts
  std::array<Candidates, 256> by_first_byte_;
};

}  // namespace realm
