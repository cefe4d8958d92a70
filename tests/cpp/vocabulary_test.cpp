// Vocabularies, special tokens, sentencepiece and UTF-8: the rules, and what a stranger's file can
// do.
#include "model/vocabulary.h"

#include <chrono>
#include <cmath>

#include "cpp/harness.h"
#include "gguf/reader.h"
#include "model/detokenize.h"
#include "model/sentencepiece.h"
#include "model/special_splitter.h"
#include "model/token_text.h"
#include "model/utf8.h"

using namespace realm;
using gguf::Array;
using gguf::Metadata;
using gguf::StringArray;

namespace {

enum : int32_t { kNormal = 1, kUnknown, kControl, kUser, kUnused, kByte };

struct Token {
  std::string_view text;
  int32_t kind = kNormal;
  float score = 0;
};

Metadata metadata_of(std::string_view model, const std::vector<Token>& tokens) {
  StringArray texts;
  std::vector<int32_t> kinds;
  std::vector<float> scores;
  for (const Token& token : tokens) {
    texts.push_back(token.text);
    kinds.push_back(token.kind);
    scores.push_back(token.score);
  }
  Metadata metadata;
  metadata.set("tokenizer.ggml.model", model);
  metadata.set("tokenizer.ggml.tokens", texts);
  metadata.set("tokenizer.ggml.token_type", Array::of(std::span<const int32_t>(kinds)));
  if (model == "llama") {
    metadata.set("tokenizer.ggml.scores", Array::of(std::span<const float>(scores)));
  } else {
    metadata.set("tokenizer.ggml.merges", StringArray{});
  }
  return metadata;
}

Metadata byte_level(const std::vector<Token>& tokens) {
  return metadata_of("gpt2", tokens);
}

Metadata sentencepiece(std::vector<Token> tokens = {}) {
  std::vector<Token> all = {{"<unk>", kUnknown}, {"<s>", kControl}, {"</s>", kControl}};
  all.insert(all.end(), tokens.begin(), tokens.end());
  return metadata_of("llama", all);
}

Metadata with(Metadata metadata, std::string_view key, gguf::Value value) {
  metadata.set(key, std::move(value));
  return metadata;
}

std::string refusal(const Metadata& metadata) {
  return EXPECT_ERROR(kFormat, { Vocabulary vocabulary(metadata); });
}

std::string joined(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += concat(text.empty() ? "" : " ", id);
  return text;
}

std::string pieces(const Vocabulary& vocabulary, std::string_view text, bool parse_special) {
  std::string shown;
  for (const auto& piece : SpecialSplitter(vocabulary).split(text, parse_special)) {
    shown += piece.token == kNoToken ? concat("'", piece.text, "'")
                                     : concat("<", vocabulary.text(piece.token), ">");
  }
  return shown;
}

}  // namespace

TEST(byte_level_tokens_stand_for_bytes) {
  const Vocabulary v(byte_level({{"\xc4\xa0the"}, {"\xc4\x8a"}, {"\xc3\xa9"}, {"plain text"}}));
  EXPECT(v.kind() == VocabularyKind::kByteLevel);
  EXPECT_EQ(v.bytes(0), " the");
  EXPECT_EQ(v.bytes(1), "\n");
  EXPECT_EQ(v.bytes(2), "\xe9");
  EXPECT_EQ(v.bytes(3), "plain text");
  EXPECT_EQ(v.text(0), "\xc4\xa0the");
}

TEST(the_byte_alphabet_maps_every_byte_there_and_back) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string character = to_byte_alphabet(static_cast<uint8_t>(byte));
    EXPECT_EQ(from_byte_alphabet(character), std::string(1, static_cast<char>(byte)));
    all += character;
  }
  EXPECT_EQ(from_byte_alphabet(all).size(), 256u);
  EXPECT_EQ(from_byte_alphabet("\xc4"), "\xc4");
  EXPECT_EQ(from_byte_alphabet("\xc0\xa0"), "\xc0\xa0");
}

TEST(sentencepiece_tokens_have_spaces_and_single_bytes) {
  const Vocabulary v(sentencepiece({{"\xe2\x96\x81the"},
                                    {"<0x0A>", kByte},
                                    {"<0xfF>", kByte},
                                    {"a\xe2\x96\x81", kUser},
                                    {"gone", kUnused},
                                    {"<0x41>"}}));
  EXPECT_EQ(v.bytes(3), " the");
  EXPECT_EQ(v.bytes(4), "\n");
  EXPECT_EQ(v.bytes(5), "\xff");
  EXPECT_EQ(v.bytes(6), "a\xe2\x96\x81");
  EXPECT_EQ(v.bytes(7), "");
  EXPECT_EQ(v.bytes(8), "<0x41>");
  EXPECT_EQ(v.byte_token(0x0a), 4);
  EXPECT_EQ(v.byte_token(0x41), 8);
  EXPECT_EQ(v.byte_token(0x42), kNoToken);
}

TEST(byte_texts_are_read_strictly) {
  EXPECT_EQ(*parse_byte_text("<0x7F>"), 0x7f);
  for (const char* text :
       {"<0x-1>", "<0x-F>", "<0xZZ>", "<0x>", "<0x100>", "<0x0>", "<0x+1>", "<0x 1>", "<0x"}) {
    EXPECT(!parse_byte_text(text));
    EXPECT(test::contains(refusal(sentencepiece({{text, kByte}})), "tokenizer.ggml.tokens[3]"));
  }
}

TEST(what_the_metadata_says_is_checked_by_field_and_value) {
  const Metadata good = sentencepiece({{"a"}});
  const auto says = [&](std::string_view key, gguf::Value value, std::string_view part) {
    const std::string message = refusal(with(good, key, std::move(value)));
    EXPECT(test::contains(message, key));
    EXPECT(test::contains(message, part));
  };
  says("tokenizer.ggml.model", "bert", "'bert'");
  says("tokenizer.ggml.model", uint32_t{1}, "no text");
  says("tokenizer.ggml.tokens", StringArray{}, "0 tokens");
  says("tokenizer.ggml.tokens", Array::of({1.0f}), "no array of texts");
  says("tokenizer.ggml.tokens", StringArray{"x", "y", "x"}, "repeats token 0, 'x'");
  says("tokenizer.ggml.scores", Array::of({1.0f}), "there are 4 tokens");
  says("tokenizer.ggml.scores", Array::of({1.0f, 2.0f, 3.0f, NAN}), "[3] is nan");
  says("tokenizer.ggml.scores", Array::of({1.0f, 2.0f, INFINITY, 3.0f}), "[2] is inf");
  says("tokenizer.ggml.token_type", Array::of<int32_t>({1, 1, 1}), "there are 4 tokens");
  says("tokenizer.ggml.token_type", Array::of<int32_t>({1, 1, 1, 7}), "[3] is 7");
  says("tokenizer.ggml.token_type", Array::of<int32_t>({1, -1, 1, 1}), "[1] is -1");
  says("tokenizer.ggml.token_type", Array::of({1.0f, 1.0f, 1.0f, 1.0f}), "no array of integers");
  says("tokenizer.ggml.eos_token_id", uint32_t{4}, "4: of 4 tokens");
  says("tokenizer.ggml.eos_token_id", int32_t{-2}, "-2");
  says("tokenizer.ggml.eos_token_id", 1.5f, "no token id");
  says("tokenizer.ggml.add_bos_token", uint8_t{1}, "no bool");
  says("tokenizer.chat_template", uint8_t{1}, "no text");
}

TEST(tokens_of_absurd_lengths_are_refused) {
  const std::string long_text(Vocabulary::kMaxTokenBytes + 1, 'x');
  EXPECT(test::contains(refusal(sentencepiece({{long_text}})), "[3] has 16385 bytes"));
  const std::string special(Vocabulary::kMaxSpecialBytes + 1, 'x');
  EXPECT(test::contains(refusal(sentencepiece({{special, kUser}})), "special token of 1025 bytes"));
  const Vocabulary fine(sentencepiece({{special}}));
  EXPECT_EQ(fine.size(), 4);
}

TEST(empty_tokens_may_repeat_and_are_never_found) {
  const Vocabulary v(sentencepiece({{""}, {""}}));
  EXPECT_EQ(v.size(), 5);
  EXPECT(!v.find(""));
  EXPECT_EQ(v.bytes(4), "");
}

TEST(defaults_are_those_of_the_kind_and_of_the_pre_tokenizer) {
  const Vocabulary spm(sentencepiece());
  EXPECT_EQ(spm.special().bos, 1);
  EXPECT_EQ(spm.special().eos, 2);
  EXPECT_EQ(spm.special().unknown, 0);
  EXPECT(spm.add_bos() && !spm.add_eos() && spm.add_space_prefix());

  std::vector<Token> twelve;
  const std::string letters = "abcdefghijkl";
  for (const char& c : letters) twelve.push_back({{&c, 1}});
  const Metadata metadata = byte_level(twelve);
  const Vocabulary plain(metadata);
  EXPECT_EQ(plain.special().bos, 11);
  EXPECT(!plain.add_bos() && !plain.add_space_prefix());
  EXPECT_EQ(plain.pre_tokenizer()->name(), "default");
  EXPECT(Vocabulary(metadata, "llama-v3").add_bos());
  EXPECT_EQ(Vocabulary(metadata, "glm4").special().bos, kNoToken);
  EXPECT(Vocabulary(with(metadata, "tokenizer.ggml.add_bos_token", false), "gemma4").add_bos());
  EXPECT(!Vocabulary(with(metadata, "tokenizer.ggml.add_bos_token", false), "tekken").add_bos());
  EXPECT_EQ(Vocabulary(byte_level({{"a"}})).special().eos, kNoToken);
}

TEST(an_unknown_pre_tokenizer_leaves_the_ids_usable) {
  const Vocabulary v(with(byte_level({{"a"}}), "tokenizer.ggml.pre", "from-the-future"));
  EXPECT(v.pre_tokenizer() == nullptr);
  EXPECT_EQ(v.pre_tokenizer_name(), "from-the-future");
  EXPECT_EQ(v.bytes(0), "a");
  EXPECT_ERROR(kInvalidRequest, { Vocabulary forced(byte_level({{"a"}}), "nonsense"); });
}

TEST(no_name_of_a_pre_tokenizer_is_in_two_rows) {
  std::vector<std::string> names;
  for (const PreTokenizer& row : pre_tokenizers()) {
    std::string_view rest = row.names;
    while (!rest.empty()) {
      const std::string_view name = rest.substr(0, rest.find(' '));
      EXPECT(find_pre_tokenizer(name) == &row);
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    }
    EXPECT(!row.patterns[0].empty());
  }
  EXPECT(find_pre_tokenizer("") == find_pre_tokenizer("default"));
  EXPECT(find_pre_tokenizer("gpt-2 phi-2") == nullptr);
}

TEST(every_token_that_ends_generation_is_known) {
  const Vocabulary v(sentencepiece({{"<|im_end|>"},
                                    {"<end_of_turn>"},
                                    {"<|fim_pad|>"},
                                    {"<|im_start|>"},
                                    {"<|eom_id|>"},
                                    {"x"}}));
  EXPECT_EQ(joined({v.end_tokens().begin(), v.end_tokens().end()}), "2 3 4 5 7");
  EXPECT(v.ends_generation(3) && !v.ends_generation(6) && !v.ends_generation(8));
  EXPECT(v.kind_of(3) == TokenKind::kControl);
  EXPECT_EQ(v.special().eot, 3);
  EXPECT_EQ(v.special().eom, 7);
  const Vocabulary named(with(sentencepiece({{"x"}}), "tokenizer.ggml.eot_token_id", uint32_t{3}));
  EXPECT(named.ends_generation(3));
}

TEST(the_largest_id_means_none) {
  const Vocabulary v(with(sentencepiece(), "tokenizer.ggml.bos_token_id", UINT32_MAX));
  EXPECT_EQ(v.special().bos, kNoToken);
  EXPECT(!v.add_bos());
  const Metadata wanted = with(with(sentencepiece(), "tokenizer.ggml.bos_token_id", UINT32_MAX),
                               "tokenizer.ggml.add_bos_token", true);
  EXPECT(test::contains(refusal(wanted), "add_bos_token"));
}

TEST(merges_are_pairs_of_tokens_and_count_once) {
  Metadata metadata = byte_level({{"a"}, {"b"}, {"ab"}, {"aab"}, {"aa"}});
  metadata.set("tokenizer.ggml.merges", StringArray{"a b", "a ab", "a b", "a a", "aa b"});
  const Vocabulary v(metadata);
  EXPECT_EQ(v.merges().size(), 4u);
  EXPECT(v.merges()[1].left == 0 && v.merges()[1].right == 2);
  EXPECT(v.merges()[3].left == 4 && v.merges()[3].right == 1);
  for (const char* wrong : {"ab", "", " ", "  ", "a zz", "b a", "a b c"}) {
    metadata.set("tokenizer.ggml.merges", StringArray{"a b", wrong});
    EXPECT(test::contains(refusal(metadata), "tokenizer.ggml.merges[1] is"));
  }
}

TEST(the_longest_special_token_is_taken_first_wherever_it_stands) {
  const Vocabulary v(
      sentencepiece({{"ab", kUser}, {"bcd", kUser}, {"<c>", kControl}, {"a", kUser}}));
  EXPECT_EQ(pieces(v, "xabcdy", false), "'x'<a><bcd>'y'");
  EXPECT_EQ(pieces(v, "abab", false), "<ab><ab>");
  EXPECT_EQ(pieces(v, "<c>", false), "'<c>'");
  EXPECT_EQ(pieces(v, "z<c><s>z", true), "'z'<<c>><<s>>'z'");
  EXPECT_EQ(pieces(v, "", true), "");
}

TEST(phi3_tokens_swallow_the_white_space_behind_them) {
  const Metadata metadata = sentencepiece({{"<|end|>", kControl}});
  const Vocabulary plain(metadata), phi3(with(metadata, "general.name", "My PHI-3 mini"));
  EXPECT_EQ(pieces(plain, "<|end|> \n x", true), "<<|end|>>' \n x'");
  EXPECT_EQ(pieces(phi3, "<|end|> \n x<s> y</s> z", true), "<<|end|>>'x'<<s>>' y'<</s>>'z'");
}

TEST(sentencepiece_joins_the_best_scored_pair_first_and_the_leftmost_of_equals) {
  Metadata metadata = sentencepiece({{"a", kNormal, -9},
                                     {"b", kNormal, -9},
                                     {"ab", kNormal, -2},
                                     {"ba", kNormal, -1},
                                     {"aa", kNormal, -3}});
  metadata.set("tokenizer.ggml.add_space_prefix", false);
  const Vocabulary v(metadata);
  const SentencePieceEncoder encoder(v);
  EXPECT_EQ(joined(encoder.encode("aba", false)), "3 6");
  EXPECT_EQ(joined(encoder.encode("aaaaa", false)), "7 7 3");
  EXPECT_EQ(joined(encoder.encode("", false)), "");
  metadata.set("tokenizer.ggml.scores", Array::of({0.f, 0.f, 0.f, -1.f, -1.f, -1.f, -1.f, -1.f}));
  const Vocabulary equal(metadata);
  EXPECT_EQ(joined(SentencePieceEncoder(equal).encode("aba", false)), "5 3");
}

TEST(sentencepiece_joins_characters_that_are_no_tokens) {
  const Vocabulary v(sentencepiece({{"\xe6\x97\xa5\xe6\x9c\xac"}, {"\xe2\x96\x81"}}));
  const SentencePieceEncoder encoder(v);
  EXPECT_EQ(joined(encoder.encode("\xe6\x97\xa5\xe6\x9c\xac", false)), "4 3");
  EXPECT_EQ(joined(encoder.encode("\xe6\x97\xa5", false)), "4 0 0 0");
  EXPECT_EQ(joined(encoder.encode("\xe6\x97", false)), "4 0 0");
  EXPECT_EQ(joined(encoder.encode("<s>", true)), "1");
}

TEST(decoding_takes_off_the_space_that_encoding_puts_first) {
  const Vocabulary v(sentencepiece({{"\xe2\x96\x81hi"}, {"\xe2\x96\x81"}, {"x"}}));
  const std::vector<int32_t> ids = {1, 3, 3};
  EXPECT_EQ(decode_tokens(v, ids, true), "hi hi");
  EXPECT_EQ(decode_tokens(v, ids, false), "<s>hi hi");
  EXPECT_EQ(decode_tokens(v, std::vector<int32_t>{5, 3}, true), "x hi");
  EXPECT_EQ(decode_tokens(v, std::vector<int32_t>{4, 4}, true), " ");
  EXPECT_ERROR(kInvalidRequest, { decode_tokens(v, std::vector<int32_t>{6}, true); });
  EXPECT_ERROR(kInvalidRequest, { decode_tokens(v, std::vector<int32_t>{-1}, true); });
}

TEST(two_vocabularies_are_compared_by_content) {
  const Vocabulary a(sentencepiece({{"a"}, {"b"}})), longer(sentencepiece({{"a"}, {"b"}, {"c"}}));
  const Vocabulary other(sentencepiece({{"a"}, {"c"}})), kind(sentencepiece({{"a"}, {"b", kUser}}));
  EXPECT_EQ(vocabulary_difference(a, a), "");
  EXPECT_EQ(vocabulary_difference(a, longer), "");
  EXPECT_EQ(vocabulary_difference(longer, a), "");
  EXPECT(test::contains(vocabulary_difference(a, other), "token 4 is 'b' in the target and 'c'"));
  EXPECT(test::contains(vocabulary_difference(a, kind), "kind 1 in the target and 4"));
}

TEST(templates_are_kept_by_name) {
  Metadata metadata = with(sentencepiece(), "tokenizer.chat_template", "default");
  metadata.set("tokenizer.chat_template.tool_use", "tools");
  metadata.set("tokenizer.chat_templates", StringArray{"tool_use"});
  const Vocabulary v(metadata);
  EXPECT_EQ(v.chat_templates().size(), 2u);
  EXPECT_EQ(v.chat_templates()[0].first, "");
  EXPECT_EQ(v.chat_templates()[1].first, "tool_use");
  EXPECT_EQ(v.chat_templates()[1].second, "tools");
}

TEST(the_keyed_hash_is_siphash_1_3_and_depends_on_its_key) {
  // The published test message and key, 00 01 .. 0e and 00 01 .. 0f, computed apart from this code.
  std::string message;
  for (char c = 0; c < 15; ++c) message += c;
  EXPECT_EQ(keyed_hash(0x0706050403020100, 0x0f0e0d0c0b0a0908, message), 0xd320d86d2a519956u);
  EXPECT(keyed_hash(1, 2, "abc") != keyed_hash(1, 3, "abc"));
  EXPECT(keyed_hash(1, 2, "abc") != keyed_hash(1, 2, {"abc\0", 4}));
}

TEST(golden_vocabularies_load) {
  for (const char* name : {"bpe", "holes", "raw", "spm", "spm-flat", "spm-phi3", "names"}) {
    const auto file = gguf::GgufFile::open(concat(REALM_GOLDEN_DIR, "/tokenizers/", name, ".gguf"));
    EXPECT(Vocabulary::is_declared(file->metadata()));
    EXPECT(Vocabulary(file->metadata()).size() > 300);
  }
  EXPECT(!Vocabulary::is_declared(Metadata{}));
  EXPECT(!Vocabulary::is_declared(with(Metadata{}, "tokenizer.ggml.model", "no_vocab")));
}

TEST(a_quarter_of_a_million_tokens_are_ready_in_a_fraction_of_a_second) {
  StringArray texts, merges;
  std::vector<std::string> stems;
  for (int byte = 0; byte < 256; ++byte)
    stems.push_back(to_byte_alphabet(static_cast<uint8_t>(byte)));
  for (const std::string& stem : stems) texts.push_back(stem);
  for (size_t i = 0; texts.size() < (1 << 18); ++i) {
    const std::string &a = stems[i % 256], &b = stems[i / 256 % 256], &c = stems[i / 65536];
    if (i < 65536) {
      texts.push_back(a + b);
      merges.push_back(concat(a, ' ', b));
    } else {
      texts.push_back(a + b + c + c);
      merges.push_back(concat(a, b, ' ', c, c));
    }
  }
  Metadata metadata = with(Metadata{}, "tokenizer.ggml.model", "gpt2");
  metadata.set("tokenizer.ggml.tokens", texts);
  metadata.set("tokenizer.ggml.merges", merges);
  const auto begin = std::chrono::steady_clock::now();
  const Vocabulary v(metadata);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(v.size(), 1 << 18);
  EXPECT_EQ(v.merges().size(), merges.size());
  EXPECT(seconds.count() < 3.0);
}

TEST(no_split_of_a_text_splits_a_character) {
  const std::string text = "a\xc3\xa9\xe6\x97\xa5\xf0\x9f\xa6\x99\xed\x9f\xbf\xf4\x8f\xbf\xbf.";
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      Utf8Stream stream;
      std::string out[4];
      stream.push(std::string_view(text).substr(0, first), out[0]);
      stream.push(std::string_view(text).substr(first, second - first), out[1]);
      stream.push(std::string_view(text).substr(second), out[2]);
      stream.finish(out[3]);
      EXPECT(is_utf8(out[0]) && is_utf8(out[1]) && is_utf8(out[2]) && out[3].empty());
      EXPECT_EQ(out[0] + out[1] + out[2], text);
    }
  }
}

TEST(bytes_that_are_no_character_pass_at_once_and_none_is_lost) {
  for (const char* bytes :
       {"\xff", "\x80", "\xc0\x80", "\xc1\xbf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80",
        "\xf0\x8f\xbf\xbf", "\xf8\x88\x80\x80", "\xe6\x97x"}) {
    Utf8Stream stream;
    std::string out;
    for (const char c : std::string_view(bytes)) stream.push({&c, 1}, out);
    EXPECT_EQ(out, bytes);
    EXPECT_EQ(stream.pending(), 0u);
    EXPECT(!is_utf8(bytes));
  }
}

TEST(an_unfinished_character_waits_until_the_end) {
  Utf8Stream stream;
  std::string out;
  stream.push("x\xf0\x9f\xa6", out);
  EXPECT_EQ(out, "x");
  EXPECT_EQ(stream.pending(), 3u);
  stream.finish(out);
  EXPECT_EQ(out, "x\xf0\x9f\xa6");
  EXPECT_EQ(stream.pending(), 0u);
}

TEST(utf8_lengths_are_those_of_the_standard) {
  EXPECT_EQ(utf8_length(""), 0u);
  EXPECT_EQ(utf8_length("ab"), 1u);
  EXPECT_EQ(utf8_length("\xc2\x80"), 2u);
  EXPECT_EQ(utf8_length("\xe0\xa0\x80"), 3u);
  EXPECT_EQ(utf8_length("\xf0\x90\x80\x80z"), 4u);
  EXPECT_EQ(utf8_length("\xf0\x90\x80"), 0u);
  EXPECT(utf8_begins_character("\xf0\x90\x80"));
  EXPECT(!utf8_begins_character("\xf0\x8f"));
  EXPECT(!utf8_begins_character("a"));
  EXPECT(!utf8_begins_character(""));
}
