// Ends a text before the first of its stop strings. Text comes in pieces of any size; what is given
// out, and where the text ends, depends on the bytes alone and never on how they were cut. A stop
// string is never given out, in part or whole: bytes that could begin one are held back until they
// cannot.
//
// The first stop string to be complete ends the text; if several are complete at the same byte, the
// longest. If the text and the stop strings are UTF-8 in whole characters, so is all that is given
// out. One thread; linear in the text and in the number of stop strings.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realm {

class StopMatcher {
 public:
  // Throws kInvalidRequest for an empty stop string.
  explicit StopMatcher(const std::vector<std::string>& stops);

  // Appends to `out` what of the text is now certain. True once a stop string is complete; the rest
  // of the text, in this piece and later ones, is then dropped.
  bool push(std::string_view piece, std::string& out);

  // The text ends here without a stop: appends what was held back.
  void finish(std::string& out);

  // Position in `stops` of the one that ended the text.
  std::optional<size_t> matched() const { return matched_; }
  // Bytes held back.
  size_t held() const { return held_.size(); }

 private:
  // A stop string with its progress, as Knuth, Morris and Pratt search.
  struct Pattern {
    std::string text;
    std::vector<size_t> fallback;  // [text.size()]: longest proper border of each prefix
    size_t n_matched = 0;          // longest prefix that the text seen so far ends with
  };

  static void advance(Pattern& pattern, char byte);
  size_t longest_partial() const;
  std::optional<size_t> longest_complete() const;

  std::vector<Pattern> patterns_;
  std::string held_;
  std::optional<size_t> matched_;
};

}  // namespace realm
