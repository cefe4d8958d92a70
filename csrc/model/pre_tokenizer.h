// The pre-tokenizers that byte-level BPE vocabularies name in tokenizer.ggml.pre: how text falls
// into the words that merges then work within, and what else the name decides. One row each. The
// ids that llama.cpp gives are the reference, also where it deviates from the tokenizer that a
// model was trained with; the rows' comments in the .cpp say where. Constant data.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace realm {

struct PreTokenizer {
  // Separated by spaces; the first names the row.
  std::string_view names;
  // Applied in turn, up to the first empty one: each splits every piece that the ones before left,
  // and matches and gaps alike become pieces. In the dialect of Oniguruma, with \p{L}, \p{M},
  // \p{N}, \p{P} and
  // \p{S} standing for llama.cpp's tables of Unicode 15.1 (realm_ext/text/unicode_classes.py).
  std::array<std::string_view, 6> patterns;

  bool ignore_merges = false;   // a word that is a token is that token, whatever the merges say
  bool add_bos = false;         // unless the file says otherwise
  bool always_add_bos = false;  // whatever the file says
  bool has_default_bos = true;  // the model's default where the file names no id
  bool raw = false;  // tokens are text with U+2581 for spaces, not the GPT-2 byte alphabet
  bool newline_tokens = false;     // a run of newlines that is a token is that token
  bool trims_before_mask = false;  // "<mask>" swallows the white space before it
  // No piece spans the place before a space, or after a newline, that stands between a visible
  // character and an ASCII letter: long texts may be cut there.
  bool breaks_at_words = true;

  std::string_view name() const { return names.substr(0, names.find(' ')); }
};

// Every row.
std::span<const PreTokenizer> pre_tokenizers();

// The row that lists `name` (the default row for an empty one); null if none does.
const PreTokenizer* find_pre_tokenizer(std::string_view name);

}  // namespace realm
