// What the ids of a model mean: each token's text, the bytes it stands for, its kind, and the
// tokens with a part to play. Built from the metadata of a GGUF file and validated whole: a field
// that is missing, inconsistent or out of range is refused with kFormat, by name and value. The
// rules, defaults and exceptions are those of llama.cpp.
//
// A Vocabulary never changes after construction: share it between threads freely. It holds copies
// of what it needs, each table in one buffer, and not the metadata.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gguf/metadata.h"
#include "model/pre_tokenizer.h"
#include "model/special_tokens.h"
#include "model/token_index.h"

namespace realm {

// How text becomes tokens, and how a token's text stands for bytes.
enum class VocabularyKind {
  kSentencePiece,  // U+2581 is a space, <0xNN> a byte; the best-scored pair of neighbours joins
                   // first
  kByteLevel,  // every character stands for a byte (GPT-2's alphabet); listed pairs join in turn
  kRawText,    // U+2581 is a space, <0xNN> a byte; listed pairs join in turn
};

// The ids are those of the file's tokenizer.ggml.token_type.
enum class TokenKind : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // recognized in text only on request, not part of what a model says
  kUserDefined = 4,  // always recognized in text
  kUnused = 5,
  kByte = 6,
};

// Two tokens that join to a third.
struct TokenMerge {
  int32_t left, right;
};

class Vocabulary {
 public:
  static constexpr size_t kMaxTokens = 1 << 22;        // known: 2^18
  static constexpr size_t kMaxTokenBytes = 1 << 14;    // known: below 2^10
  static constexpr size_t kMaxSpecialBytes = 1 << 10;  // of a token recognized in text
  static constexpr size_t kMaxMerges = 1 << 23;

  // Whether the metadata declares a vocabulary at all (a model may come without).
  static bool is_declared(const gguf::Metadata& metadata);

  // `pre`, if not empty, stands in for tokenizer.ggml.pre. A pre-tokenizer that is not known is no
  // error here, because ids can be used without one: pre_tokenizer() is then null. Throws kFormat,
  // and kInvalidRequest for an unknown `pre`.
  explicit Vocabulary(const gguf::Metadata& metadata, std::string_view pre = {});

  VocabularyKind kind() const { return kind_; }
  int32_t size() const { return static_cast<int32_t>(texts_.size()); }

  // The four below take an id in [0, size()).
  // As the file writes it.
  std::string_view text(int32_t id) const { return texts_[static_cast<size_t>(id)]; }
  // What it adds to an output. Control and unknown tokens have their text; an unused one has
  // nothing.
  std::string_view bytes(int32_t id) const { return pieces_[static_cast<size_t>(id)]; }
  TokenKind kind_of(int32_t id) const { return traits_[static_cast<size_t>(id)].kind; }
  // Sentencepiece only: the rank of what joins to this token, the highest first.
  float score(int32_t id) const { return scores_[static_cast<size_t>(id)]; }

  // The id whose text this is.
  std::optional<int32_t> find(std::string_view text) const { return index_.find(text, texts_); }
  // The token that stands for one byte where no other does; -1 if there is none.
  int32_t byte_token(uint8_t byte) const { return byte_tokens_[byte]; }

  const SpecialTokens& special() const { return special_; }
  bool add_bos() const { return add_bos_; }
  bool add_eos() const { return add_eos_; }
  // Whether text is encoded as if a space stood before it.
  bool add_space_prefix() const { return add_space_prefix_; }
  // Whether generation ends with this token: any of end_tokens(), which are in ascending order.
  bool ends_generation(int32_t id) const {
    return traits_[static_cast<size_t>(id)].ends_generation;
  }
  std::span<const int32_t> end_tokens() const { return end_tokens_; }

  // Whether this token, where it is recognized in text, swallows the white space beside it.
  bool trims_before(int32_t id) const { return traits_[static_cast<size_t>(id)].trims_before; }
  bool trims_after(int32_t id) const { return traits_[static_cast<size_t>(id)].trims_after; }

  // The pre-tokenizer the file names, or the one forced. Both empty and null for sentencepiece.
  const std::string& pre_tokenizer_name() const { return pre_name_; }
  const PreTokenizer* pre_tokenizer() const { return pre_; }
  // In order of precedence, no pair twice. Empty for sentencepiece.
  std::span<const TokenMerge> merges() const { return merges_; }

  // The file's chat templates: (name, template), the default one under the empty name.
  std::span<const std::pair<std::string, std::string>> chat_templates() const { return templates_; }

 private:
  struct Traits {
    TokenKind kind = TokenKind::kNormal;
    bool ends_generation = false;
    bool trims_before = false;
    bool trims_after = false;
  };

  void read_kind(const gguf::Metadata& metadata, std::string_view pre);
  void read_tokens(const gguf::Metadata& metadata);
  void read_kinds(const gguf::Metadata& metadata);
  void read_scores(const gguf::Metadata& metadata);
  void read_special(const gguf::Metadata& metadata);
  void read_flags(const gguf::Metadata& metadata);
  void read_merges(const gguf::Metadata& metadata);
  void read_templates(const gguf::Metadata& metadata);
  void adopt(const RecognizedTokens& recognized);
  void trim_around(const gguf::Metadata& metadata);
  void index_bytes();
  void build_pieces();
  void check_special_lengths() const;

  VocabularyKind kind_ = VocabularyKind::kSentencePiece;
  gguf::StringArray texts_;
  gguf::StringArray pieces_;
  TokenIndex index_;
  std::vector<Traits> traits_;
  std::vector<float> scores_;
  std::vector<int32_t> byte_tokens_;
  SpecialTokens special_;
  bool add_bos_ = false, add_eos_ = false, add_space_prefix_ = false;
  std::vector<int32_t> end_tokens_;
  std::string pre_name_;
  const PreTokenizer* pre_ = nullptr;
  std::vector<TokenMerge> merges_;
  std::vector<std::pair<std::string, std::string>> templates_;
};

// Why a draft model's ids do not mean what the target's mean; empty if every id that both have is
// the same token, of the same kind, in both. One may have more tokens (embeddings are padded at the
// end).
std::string vocabulary_difference(const Vocabulary& target, const Vocabulary& draft);

}  // namespace realm
