#include "model/vocabulary.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/token_text.h"
#include "model/vocabulary_keys.h"

namespace realm {

namespace {

using gguf::Metadata;
using gguf::Value;

constexpr std::string_view kModelKey = "tokenizer.ggml.model";
constexpr std::string_view kPreKey = "tokenizer.ggml.pre";
constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kKindsKey = "tokenizer.ggml.token_type";
constexpr std::string_view kScoresKey = "tokenizer.ggml.scores";
constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";
constexpr std::string_view kTemplateKey = "tokenizer.chat_template";

template <class... Parts>
[[noreturn]] void refuse_element(std::string_view key, size_t i, const Parts&... parts) {
  fail(ErrorCode::kFormat, key, "[", i, "] ", parts...);
}

const gguf::StringArray& read_texts(const Metadata& metadata, std::string_view key) {
  const Value* value = metadata.find(key);
  if (value == nullptr) fail(ErrorCode::kFormat, key, " is missing");
  if (value->strings() == nullptr) refuse(key, *value, "is no array of texts");
  return *value->strings();
}

// Null if there is none.
const gguf::Array* read_numbers(const Metadata& metadata, std::string_view key, size_t n_tokens) {
  const Value* value = metadata.find(key);
  if (value == nullptr) return nullptr;
  if (value->array() == nullptr) refuse(key, *value, "is no array of numbers");
  if (value->array()->size() != n_tokens) {
    refuse(key, *value, concat("there are ", n_tokens, " tokens"));
  }
  return value->array();
}

std::string lower_ascii(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace

bool Vocabulary::is_declared(const Metadata& metadata) {
  const std::string_view model = read_text(metadata, kModelKey);
  return !model.empty() && model != "no_vocab" && model != "none";
}

Vocabulary::Vocabulary(const Metadata& metadata, std::string_view pre) {
  read_kind(metadata, pre);
  read_tokens(metadata);
  read_kinds(metadata);
  read_scores(metadata);
  read_special(metadata);
  read_flags(metadata);
  read_merges(metadata);
  read_templates(metadata);
}

void Vocabulary::read_kind(const Metadata& metadata, std::string_view pre) {
  const std::string_view model = read_text(metadata, kModelKey);
  if (model == "llama") {
    kind_ = VocabularyKind::kSentencePiece;
    return;
  }
  if (model != "gpt2" && model != "gemma4") {
    fail(ErrorCode::kFormat, kModelKey, " = ", quoted(model),
         ": only 'llama', 'gpt2' and 'gemma4' are supported");
  }
  pre_name_ = pre.empty() ? read_text(metadata, kPreKey) : pre;
  if (pre.empty() && model == "gemma4") pre_name_ = "gemma4";
  pre_ = find_pre_tokenizer(pre_name_);
  REALM_CHECK(pre_ != nullptr || pre.empty(), "there is no pre-tokenizer ", quoted(pre));
  const bool raw = pre_ != nullptr && pre_->raw;
  kind_ = raw ? VocabularyKind::kRawText : VocabularyKind::kByteLevel;
}

void Vocabulary::read_tokens(const Metadata& metadata) {
  texts_ = read_texts(metadata, kTokensKey);
  if (texts_.size() == 0 || texts_.size() > kMaxTokens) {
    fail(ErrorCode::kFormat, kTokensKey, " has ", texts_.size(), " tokens, allowed are 1 to ",
         kMaxTokens);
  }
  for (size_t i = 0; i < texts_.size(); ++i) {
    if (texts_[i].size() > kMaxTokenBytes) {
      refuse_element(kTokensKey, i, "has ", texts_[i].size(), " bytes, allowed are ",
                     kMaxTokenBytes);
    }
  }
  std::optional<TokenIndex::Repetition> repetition;
  index_ = TokenIndex(texts_, repetition);
  if (repetition) {
    refuse_element(kTokensKey, static_cast<size_t>(repetition->second), "repeats token ",
                   repetition->first, ", ", quoted(text(repetition->first)));
  }
}

void Vocabulary::read_kinds(const Metadata& metadata) {
  traits_.resize(texts_.size());
  const gguf::Array* kinds = read_numbers(metadata, kKindsKey, texts_.size());
  if (kinds == nullptr) return;
  for (size_t i = 0; i < texts_.size(); ++i) {
    const auto kind = kinds->integer(i);
    if (!kind) fail(ErrorCode::kFormat, kKindsKey, " is no array of integers");
    if (*kind < 1 || *kind > 6) refuse_element(kKindsKey, i, "is ", *kind, ", known are 1 to 6");
    traits_[i].kind = static_cast<TokenKind>(*kind);
    if (traits_[i].kind == TokenKind::kByte && !parse_byte_text(texts_[i])) {
      refuse_element(kTokensKey, i, "is ", quoted(texts_[i]), ", not the <0xNN> of a byte token");
    }
  }
}

void Vocabulary::read_scores(const Metadata& metadata) {
  const gguf::Array* scores = read_numbers(metadata, kScoresKey, texts_.size());
  if (kind_ != VocabularyKind::kSentencePiece) return;
  if (scores == nullptr) {
    fail(ErrorCode::kFormat, kScoresKey, " is missing, a sentencepiece vocabulary needs it");
  }
  scores_.resize(texts_.size());
  for (size_t i = 0; i < texts_.size(); ++i) {
    const auto score = scores->number(i);
    if (!score || !std::isfinite(*score)) {
      refuse_element(kScoresKey, i, "is ", score ? concat(*score) : "no number");
    }
    scores_[i] = static_cast<float>(*score);
  }
}

void Vocabulary::read_special(const Metadata& metadata) {
  if (kind_ == VocabularyKind::kSentencePiece) {
    special_ = {.bos = 1, .eos = 2, .unknown = 0};
  } else if (read_text(metadata, kModelKey) == "gpt2") {
    special_.eos = 11;
    if (pre_ == nullptr || pre_->has_default_bos) special_.bos = 11;
  }
  for (int32_t* id : {&special_.bos, &special_.eos, &special_.unknown}) {
    if (*id >= size()) *id = kNoToken;
  }
  read_special_ids(metadata, size(), special_);
  adopt(recognize_tokens([this](std::string_view t) { return find(t); }, special_));
  trim_around(metadata);
  check_special_lengths();
  index_bytes();
  build_pieces();
}

// What a token is recognized as outweighs what the file calls it.
void Vocabulary::adopt(const RecognizedTokens& recognized) {
  const auto become = [this](const std::vector<int32_t>& ids, TokenKind kind) {
    for (const int32_t id : ids) traits_[static_cast<size_t>(id)].kind = kind;
  };
  become(recognized.control, TokenKind::kControl);
  become(recognized.user_defined, TokenKind::kUserDefined);
  become(recognized.normal, TokenKind::kNormal);
  end_tokens_ = recognized.ends;
  for (const int32_t id : end_tokens_) traits_[static_cast<size_t>(id)].ends_generation = true;
}

// Files do not say which tokens swallow white space; llama.cpp goes by the names of two families.
void Vocabulary::trim_around(const Metadata& metadata) {
  const auto traits_of = [this](std::string_view t) -> Traits* {
    const auto id = find(t);
    return id ? &traits_[static_cast<size_t>(*id)] : nullptr;
  };
  if (pre_ != nullptr && pre_->trims_before_mask) {
    if (Traits* mask = traits_of("<mask>")) mask->trims_before = true;
    return;
  }
  const std::string name = lower_ascii(read_text(metadata, "general.name"));
  if (name.find("phi-3") == std::string::npos && name.find("phi3") == std::string::npos) return;
  for (Traits& traits : traits_) {
    traits.trims_after = traits.kind == TokenKind::kControl || traits.kind == TokenKind::kUnknown ||
                         traits.kind == TokenKind::kUserDefined;
  }
  if (Traits* eos = traits_of("</s>")) eos->trims_after = true;
  for (const std::string_view text : {"<unk>", "<s>", "<|endoftext|>"}) {
    if (Traits* traits = traits_of(text)) traits->trims_after = false;
  }
}

void Vocabulary::check_special_lengths() const {
  for (size_t i = 0; i < texts_.size(); ++i) {
    const TokenKind kind = traits_[i].kind;
    const bool in_text = kind == TokenKind::kControl || kind == TokenKind::kUserDefined ||
                         kind == TokenKind::kUnknown;
    if (in_text && texts_[i].size() > kMaxSpecialBytes) {
      refuse_element(kTokensKey, i, "is a special token of ", texts_[i].size(),
                     " bytes, allowed are ", kMaxSpecialBytes);
    }
  }
}

void Vocabulary::index_bytes() {
  byte_tokens_.assign(256, kNoToken);
  if (kind_ == VocabularyKind::kByteLevel) return;
  for (int byte = 0; byte < 256; ++byte) {
    auto id = find(byte_text(static_cast<uint8_t>(byte)));
    if (!id && kind_ == VocabularyKind::kSentencePiece) {
      const char alone = static_cast<char>(byte);
      id = find({&alone, 1});
    }
    byte_tokens_[static_cast<size_t>(byte)] = id.value_or(kNoToken);
  }
}

void Vocabulary::build_pieces() {
  pieces_.reserve(texts_.size());
  for (int32_t id = 0; id < size(); ++id) {
    switch (kind_of(id)) {
      case TokenKind::kUnused:
        pieces_.push_back({});
        break;
      case TokenKind::kByte: {
        const char byte = static_cast<char>(*parse_byte_text(text(id)));
        pieces_.push_back({&byte, 1});
        break;
      }
      case TokenKind::kNormal:
        pieces_.push_back(kind_ == VocabularyKind::kByteLevel ? from_byte_alphabet(text(id))
                                                              : unescape_spaces(text(id)));
        break;
      default:
        pieces_.push_back(text(id));
    }
  }
}

void Vocabulary::read_flags(const Metadata& metadata) {
  const bool sentencepiece = kind_ == VocabularyKind::kSentencePiece;
  const auto add_bos = read_bool(metadata, "tokenizer.ggml.add_bos_token");
  const auto add_eos = read_bool(metadata, "tokenizer.ggml.add_eos_token");
  const auto prefix = read_bool(metadata, "tokenizer.ggml.add_space_prefix");
  if (add_bos.value_or(false) && special_.bos == kNoToken) {
    fail(ErrorCode::kFormat, "tokenizer.ggml.add_bos_token = true, but there is no bos_token_id");
  }
  if (add_eos.value_or(false) && special_.eos == kNoToken) {
    fail(ErrorCode::kFormat, "tokenizer.ggml.add_eos_token = true, but there is no eos_token_id");
  }
  add_bos_ = add_bos.value_or(sentencepiece || (pre_ != nullptr && pre_->add_bos));
  if (pre_ != nullptr && pre_->always_add_bos) add_bos_ = true;
  if (special_.bos == kNoToken) add_bos_ = false;
  add_eos_ = add_eos.value_or(false);
  add_space_prefix_ = sentencepiece && prefix.value_or(true);
}

void Vocabulary::read_merges(const Metadata& metadata) {
  if (kind_ == VocabularyKind::kSentencePiece) return;
  const gguf::StringArray& lines = read_texts(metadata, kMergesKey);
  if (lines.size() > kMaxMerges) {
    fail(ErrorCode::kFormat, kMergesKey, " has ", lines.size(), " pairs, allowed are ", kMaxMerges);
  }
  merges_.reserve(lines.size());
  // Pairs with the same result, as chains: a text has fewer splits than bytes, so that they stay
  // short.
  std::vector<int32_t> last_with_result(texts_.size(), -1), earlier;
  earlier.reserve(lines.size());
  std::string joined;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = lines[i];
    const size_t space = line.find(' ', 1);
    if (space == std::string_view::npos) {
      refuse_element(kMergesKey, i, "is ", quoted(line), ", not two tokens and a space");
    }
    joined.assign(line.substr(0, space)).append(line.substr(space + 1));
    const auto left = find(line.substr(0, space)), right = find(line.substr(space + 1));
    const auto result = find(joined);
    if (!left || !right || !result) {
      refuse_element(kMergesKey, i, "is ", quoted(line), ", but ",
                     quoted(!left    ? line.substr(0, space)
                            : !right ? line.substr(space + 1)
                                     : joined),
                     " is no token");
    }
    int32_t& last = last_with_result[static_cast<size_t>(*result)];
    int32_t same = last;
    while (same >= 0 && merges_[static_cast<size_t>(same)].left != *left) {
      same = earlier[static_cast<size_t>(same)];
    }
    if (same >= 0) continue;
    earlier.push_back(last);
    last = static_cast<int32_t>(merges_.size());
    merges_.push_back({*left, *right});
  }
}

void Vocabulary::read_templates(const Metadata& metadata) {
  for (const auto& [key, value] : metadata) {
    if (!key.starts_with(kTemplateKey)) continue;
    const std::string_view rest = std::string_view(key).substr(kTemplateKey.size());
    if (!rest.empty() && rest[0] != '.') continue;
    if (!value.text()) refuse(key, value, "is no text");
    templates_.emplace_back(rest.substr(rest.empty() ? 0 : 1), *value.text());
  }
}

std::string vocabulary_difference(const Vocabulary& target, const Vocabulary& draft) {
  const int32_t n_common = std::min(target.size(), draft.size());
  for (int32_t id = 0; id < n_common; ++id) {
    if (target.bytes(id) != draft.bytes(id)) {
      return concat("token ", id, " is ", quoted(target.bytes(id)), " in the target and ",
                    quoted(draft.bytes(id)), " in the draft");
    }
    if (target.kind_of(id) != draft.kind_of(id)) {
      return concat("token ", id, ", ", quoted(target.bytes(id)), ", is of kind ",
                    static_cast<int>(target.kind_of(id)), " in the target and ",
                    static_cast<int>(draft.kind_of(id)), " in the draft");
    }
  }
  return {};
}

}  // namespace realm
