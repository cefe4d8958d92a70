#include "model/sentencepiece.h"

#include <algorithm>
#include <queue>

#include "base/error.h"
#include "model/token_text.h"

namespace realm {

namespace {

// Bytes that the character with this lead claims; continuation bytes stand alone.
size_t claimed_bytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

// A stretch of the text that is one token, or one character; empty once it joined its left
// neighbour.
struct Symbol {
  int32_t previous, next;  // -1: none
  uint32_t offset, size;
};

// Two neighbours that together are a token.
struct Pair {
  float score;
  int32_t left, right;
  uint32_t size;

  // For a queue that yields its largest element.
  bool operator<(const Pair& other) const {
    return score < other.score || (score == other.score && left > other.left);
  }
};

class Joiner {
 public:
  Joiner(const Vocabulary& vocabulary, size_t longest_token, std::string_view text)
      : vocabulary_(vocabulary), longest_token_(longest_token), text_(text) {
    split_characters();
    for (int32_t i = 1; i < static_cast<int32_t>(symbols_.size()); ++i) offer(i - 1, i);
  }

  void run() {
    while (!pairs_.empty()) {
      const Pair pair = pairs_.top();
      pairs_.pop();
      if (is_current(pair)) join(pair);
    }
  }

  void append_ids(std::vector<int32_t>& ids) const {
    for (int32_t i = symbols_.empty() ? -1 : 0; i != -1; i = at(i).next) {
      const std::string_view text = text_.substr(at(i).offset, at(i).size);
      if (const auto id = vocabulary_.find(text)) {
        ids.push_back(*id);
      } else {
        append_bytes(text, ids);
      }
    }
  }

 private:
  Symbol& at(int32_t i) { return symbols_[static_cast<size_t>(i)]; }
  const Symbol& at(int32_t i) const { return symbols_[static_cast<size_t>(i)]; }

  void split_characters() {
    symbols_.reserve(text_.size());
    for (size_t offset = 0; offset < text_.size();) {
      const size_t size = std::min(claimed_bytes(text_[offset]), text_.size() - offset);
      const auto index = static_cast<int32_t>(symbols_.size());
      symbols_.push_back(
          {index - 1, index + 1, static_cast<uint32_t>(offset), static_cast<uint32_t>(size)});
      offset += size;
    }
    if (!symbols_.empty()) symbols_.back().next = -1;
  }

  void offer(int32_t left, int32_t right) {
    if (left == -1 || right == -1) return;
    const uint32_t size = at(left).size + at(right).size;
    if (size > longest_token_) return;
    const auto id = vocabulary_.find(text_.substr(at(left).offset, size));
    if (id) pairs_.push({vocabulary_.score(*id), left, right, size});
  }

  bool is_current(const Pair& pair) const {
    const uint32_t left = at(pair.left).size, right = at(pair.right).size;
    return left != 0 && right != 0 && left + right == pair.size;
  }

  void join(const Pair& pair) {
    Symbol& left = at(pair.left);
    Symbol& right = at(pair.right);
    left.size += right.size;
    right.size = 0;
    left.next = right.next;
    if (right.next >= 0) at(right.next).previous = pair.left;
    offer(left.previous, pair.left);
    offer(pair.left, left.next);
  }

  void append_bytes(std::string_view text, std::vector<int32_t>& ids) const {
    for (const char c : text) {
      const int32_t byte = vocabulary_.byte_token(static_cast<uint8_t>(c));
      const int32_t id = byte != kNoToken ? byte : vocabulary_.special().unknown;
      if (id != kNoToken) ids.push_back(id);
    }
  }

  const Vocabulary& vocabulary_;
  const size_t longest_token_;
  const std::string_view text_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Pair> pairs_;
};

}  // namespace

SentencePieceEncoder::SentencePieceEncoder(const Vocabulary& vocabulary)
    : vocabulary_(vocabulary), splitter_(vocabulary) {
  REALM_CHECK(vocabulary.kind() == VocabularyKind::kSentencePiece,
              "the vocabulary is not of sentencepiece's kind");
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    longest_token_ = std::max(longest_token_, vocabulary.text(id).size());
  }
}

std::vector<int32_t> SentencePieceEncoder::encode(std::string_view text, bool parse_special) const {
  REALM_CHECK(text.size() <= INT32_MAX / 4, "a text of ", text.size(),
              " bytes is too long to encode");
  std::vector<int32_t> ids;
  bool after_special = true;
  for (const SpecialSplitter::Piece& piece : splitter_.split(text, parse_special)) {
    if (piece.token != kNoToken) {
      ids.push_back(piece.token);
    } else {
      const bool prefix = vocabulary_.add_space_prefix() && after_special;
      encode_plain(prefix ? concat(' ', piece.text) : std::string(piece.text), ids);
    }
    after_special = piece.token != kNoToken;
  }
  return ids;
}

void SentencePieceEncoder::encode_plain(std::string_view text, std::vector<int32_t>& ids) const {
  const std::string escaped = escape_spaces(text);
  Joiner joiner(vocabulary_, longest_token_, escaped);
  joiner.run();
  joiner.append_ids(ids);
}

}  // namespace realm
