// Stop strings against a twin that sees the whole text at once, under random chunkings.
#include "engine/stop_matcher.h"

#include <random>

#include "cpp/harness.h"

using namespace realm;

namespace {

using Strings = std::vector<std::string>;

struct Ending {
  std::string text;
  std::optional<size_t> stop;
};

// The first byte at which some stop string is complete ends the text; the longest such one counts.
Ending twin(const std::string& text, const Strings& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<size_t> best;
    for (size_t i = 0; i < stops.size(); ++i) {
      const bool complete = end >= stops[i].size() &&
                            text.compare(end - stops[i].size(), stops[i].size(), stops[i]) == 0;
      if (complete && (!best || stops[i].size() > stops[*best].size())) best = i;
    }
    if (best) return {text.substr(0, end - stops[*best].size()), best};
  }
  return {text, std::nullopt};
}

Ending in_pieces(const std::string& text, const Strings& stops, size_t longest_piece,
                 std::mt19937& generator) {
  StopMatcher matcher(stops);
  Ending ending;
  for (size_t i = 0; i < text.size();) {
    const size_t n = std::min(text.size() - i, size_t{1} + generator() % longest_piece);
    const bool stopped = matcher.push(std::string_view(text).substr(i, n), ending.text);
    EXPECT_EQ(stopped, matcher.matched().has_value());
    i += n;
    // Nothing is held without need: what is held begins some stop string.
    bool begins = matcher.held() == 0;
    const std::string seen = text.substr(0, i);
    const std::string held = seen.substr(seen.size() - matcher.held());
    for (const std::string& stop : stops) begins |= stop.compare(0, held.size(), held) == 0;
    EXPECT(begins);
  }
  matcher.finish(ending.text);
  ending.stop = matcher.matched();
  return ending;
}

// Few letters, so that partial matches, overlaps and borders abound.
std::string random_text(std::mt19937& generator, size_t n) {
  std::string text(n, 'a');
  for (char& letter : text) letter = static_cast<char>('a' + generator() % 2);
  return text;
}

}  // namespace

TEST(any_chunking_ends_where_the_twin_ends) {
  std::mt19937 generator(1);
  int n_stopped = 0;
  for (int i = 0; i < 20000; ++i) {
    Strings stops;
    for (size_t n = generator() % 4; n > 0; --n) {
      stops.push_back(random_text(generator, 1 + generator() % 7));
    }
    const std::string text = random_text(generator, generator() % 30);
    const Ending expected = twin(text, stops);
    const Ending ending = in_pieces(text, stops, 1 + generator() % 8, generator);
    EXPECT_EQ(ending.text, expected.text);
    EXPECT(ending.stop == expected.stop);
    n_stopped += expected.stop ? 1 : 0;
  }
  EXPECT(n_stopped > 5000 && n_stopped < 19000);
}

TEST(a_stop_string_that_spans_pieces_is_never_given_out) {
  StopMatcher matcher({"</end>"});
  std::string out;
  EXPECT(!matcher.push("text <", out));
  EXPECT_EQ(out, std::string("text "));
  EXPECT(!matcher.push("/en", out));
  EXPECT_EQ(out, std::string("text "));
  EXPECT(matcher.push("d> never", out));
  EXPECT(matcher.push("more", out));
  matcher.finish(out);
  EXPECT_EQ(out, std::string("text "));
}

TEST(a_partial_match_that_fails_is_released) {
  StopMatcher matcher({"aab"});
  std::string out;
  EXPECT(!matcher.push("aa", out));
  EXPECT_EQ(out, std::string(""));
  EXPECT(!matcher.push("a", out));  // the first "a" cannot begin the stop string any more
  EXPECT_EQ(out, std::string("a"));
  EXPECT(!matcher.push("c", out));
  EXPECT_EQ(out, std::string("aaac"));
}

TEST(what_is_held_when_the_text_ends_is_released) {
  StopMatcher matcher({"abc"});
  std::string out;
  EXPECT(!matcher.push("xab", out));
  matcher.finish(out);
  EXPECT_EQ(out, std::string("xab"));
  EXPECT_EQ(matcher.held(), size_t{0});
}

TEST(of_stops_complete_at_one_byte_the_longest_counts) {
  StopMatcher matcher({"c", "abc", "bc"});
  std::string out;
  EXPECT(matcher.push("xabc", out));
  EXPECT_EQ(out, std::string("x"));
  EXPECT_EQ(*matcher.matched(), size_t{1});
}

TEST(whole_characters_go_in_and_whole_characters_come_out) {
  StopMatcher matcher({"é!"});  // c3 a9 21
  std::string out;
  EXPECT(!matcher.push("è", out));  // c3 a8
  EXPECT_EQ(out, std::string("è"));
  EXPECT(!matcher.push("é", out));
  EXPECT_EQ(out, std::string("è"));
  EXPECT(!matcher.push("?", out));
  EXPECT_EQ(out, std::string("èé?"));
}

TEST(without_stop_strings_nothing_is_held) {
  StopMatcher matcher({});
  std::string out;
  EXPECT(!matcher.push("text", out));
  EXPECT_EQ(out, std::string("text"));
}

TEST(an_empty_stop_string_is_refused) {
  EXPECT_ERROR(kInvalidRequest, { StopMatcher({"a", ""}); });
}
