// Text to ids by a sentencepiece vocabulary: from single characters on, the neighbours that
// together are the best-scored token join, the leftmost of equals first; what is no token at the
// end becomes byte tokens. Exactly llama.cpp's algorithm, on which files without real scores (all
// equal) depend. A list of merges derived from the scores, as Hugging Face tokenizers would need,
// cannot express equal scores, and would take a second to build for 256 k tokens; this needs
// nothing but the vocabulary. Constant after construction: safe to share.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/special_splitter.h"
#include "model/vocabulary.h"

namespace realm {

class SentencePieceEncoder {
 public:
  // `vocabulary`, of kind kSentencePiece, must outlive the encoder.
  explicit SentencePieceEncoder(const Vocabulary& vocabulary);

  // The ids of `text`, any bytes, without BOS and EOS. A byte that has no token of its own becomes
  // the unknown token. Takes O(n log n).
  std::vector<int32_t> encode(std::string_view text, bool parse_special) const;

 private:
  void encode_plain(std::string_view text, std::vector<int32_t>& ids) const;

  const Vocabulary& vocabulary_;
  SpecialSplitter splitter_;
  size_t longest_token_ = 0;
};

}  // namespace realm
