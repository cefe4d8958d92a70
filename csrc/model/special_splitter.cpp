#include "model/special_splitter.h"

#include <algorithm>
#include <numeric>

namespace realm {

namespace {

bool is_special(TokenKind kind) {
  return kind == TokenKind::kControl || kind == TokenKind::kUserDefined ||
         kind == TokenKind::kUnknown;
}

// White space of the C locale, as llama.cpp trims it.
bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

std::string_view without_space_after(std::string_view text) {
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view without_space_before(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

}  // namespace

SpecialSplitter::SpecialSplitter(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if (is_special(vocabulary.kind_of(id)) && !vocabulary.text(id).empty()) by_rank_.push_back(id);
  }
  std::ranges::stable_sort(by_rank_, [&](int32_t a, int32_t b) {
    return vocabulary.text(a).size() > vocabulary.text(b).size();
  });
  by_text_.resize(by_rank_.size());
  std::iota(by_text_.begin(), by_text_.end(), 0u);
  std::ranges::sort(by_text_, {}, [this](uint32_t rank) { return text_of(rank); });
  const Candidates all{0, static_cast<uint32_t>(by_text_.size())};
  for (size_t byte = 0; byte < 256; ++byte) {
    by_first_byte_[byte] = narrow(all, 0, static_cast<char>(byte));
  }
}

// Those whose text has `byte` at `depth`; all of them are longer than that and agree in what is
// before.
SpecialSplitter::Candidates SpecialSplitter::narrow(Candidates candidates, size_t depth,
                                                    char byte) const {
  const auto begin = by_text_.begin();
  const auto equal = std::ranges::equal_range(
      begin + candidates.first, begin + candidates.last, static_cast<unsigned char>(byte), {},
      [&](uint32_t rank) { return static_cast<unsigned char>(text_of(rank)[depth]); });
  return {static_cast<uint32_t>(equal.begin() - begin), static_cast<uint32_t>(equal.end() - begin)};
}

// Which ranks stand anywhere in `text`.
std::vector<bool> SpecialSplitter::occurring(std::string_view text) const {
  std::vector<bool> found(by_rank_.size(), false);
  for (size_t offset = 0; offset < text.size(); ++offset) {
    Candidates left = by_first_byte_[static_cast<unsigned char>(text[offset])];
    for (size_t depth = 1; left.first < left.last; ++depth) {
      // The shortest comes first.
      const uint32_t rank = by_text_[left.first];
      if (text_of(rank).size() == depth) {
        found[rank] = true;
        ++left.first;
      }
      if (offset + depth == text.size()) break;
      left = narrow(left, depth, text[offset + depth]);
    }
  }
  return found;
}

// Splits `text` at every occurrence of `token`.
void SpecialSplitter::split_by(int32_t token, std::string_view text,
                               std::vector<Piece>& pieces) const {
  const std::string_view wanted = vocabulary_.text(token);
  for (size_t hit; (hit = text.find(wanted)) != std::string_view::npos;) {
    std::string_view before = text.substr(0, hit);
    text.remove_prefix(hit + wanted.size());
    if (vocabulary_.trims_before(token)) before = without_space_after(before);
    if (vocabulary_.trims_after(token)) text = without_space_before(text);
    if (!before.empty()) pieces.push_back({kNoToken, before});
    pieces.push_back({token, {}});
  }
  if (!text.empty()) pieces.push_back({kNoToken, text});
}

std::vector<SpecialSplitter::Piece> SpecialSplitter::split(std::string_view text,
                                                           bool parse_special) const {
  std::vector<Piece> pieces, finer;
  if (!text.empty()) pieces.push_back({kNoToken, text});
  const std::vector<bool> found = occurring(text);
  for (size_t rank = 0; rank < found.size(); ++rank) {
    const int32_t token = by_rank_[rank];
    const bool wanted = parse_special || vocabulary_.kind_of(token) == TokenKind::kUserDefined;
    if (!found[rank] || !wanted) continue;
    finer.clear();
    for (const Piece& piece : pieces) {
      if (piece.token != kNoToken) {
        finer.push_back(piece);
      } else {
        split_by(token, piece.text, finer);
      }
    }
    pieces.swap(finer);
  }
  return pieces;
}

}  // namespace realm
