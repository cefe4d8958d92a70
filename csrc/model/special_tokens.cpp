#include "model/special_tokens.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>

#include "base/error.h"
#include "model/vocabulary_keys.h"

namespace realm {

namespace {

struct NamedId {
  std::string_view key;
  int32_t SpecialTokens::* id;
};

// The last three are older names of three before.
constexpr NamedId kNamedIds[] = {
    {"tokenizer.ggml.bos_token_id", &SpecialTokens::bos},
    {"tokenizer.ggml.eos_token_id", &SpecialTokens::eos},
    {"tokenizer.ggml.eot_token_id", &SpecialTokens::eot},
    {"tokenizer.ggml.eom_token_id", &SpecialTokens::eom},
    {"tokenizer.ggml.unknown_token_id", &SpecialTokens::unknown},
    {"tokenizer.ggml.seperator_token_id", &SpecialTokens::separator},
    {"tokenizer.ggml.padding_token_id", &SpecialTokens::padding},
    {"tokenizer.ggml.mask_token_id", &SpecialTokens::mask},
    {"tokenizer.ggml.fim_pre_token_id", &SpecialTokens::fim_prefix},
    {"tokenizer.ggml.fim_suf_token_id", &SpecialTokens::fim_suffix},
    {"tokenizer.ggml.fim_mid_token_id", &SpecialTokens::fim_middle},
    {"tokenizer.ggml.fim_pad_token_id", &SpecialTokens::fim_padding},
    {"tokenizer.ggml.fim_rep_token_id", &SpecialTokens::fim_repository},
    {"tokenizer.ggml.fim_sep_token_id", &SpecialTokens::fim_separator},
    {"tokenizer.ggml.prefix_token_id", &SpecialTokens::fim_prefix},
    {"tokenizer.ggml.suffix_token_id", &SpecialTokens::fim_suffix},
    {"tokenizer.ggml.middle_token_id", &SpecialTokens::fim_middle},
};

struct NamedTexts {
  int32_t SpecialTokens::* id;
  std::array<std::string_view, 11> texts;  // the first that is a token is the one
};

// llama.cpp takes whichever its hash map yields first; we take them in this order.
constexpr NamedTexts kNamedTexts[] = {
    {&SpecialTokens::eot,
     {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
      "<EOT>", "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>"}},
    {&SpecialTokens::eom, {"<|eom_id|>"}},
    {&SpecialTokens::fim_prefix,
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
      "<|code_prefix|>", "<|prefix|>"}},
    {&SpecialTokens::fim_suffix,
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
      "<|code_suffix|>", "<|suffix|>"}},
    {&SpecialTokens::fim_middle,
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
      "<|code_middle|>", "<|middle|>"}},
    {&SpecialTokens::fim_padding, {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {&SpecialTokens::fim_repository,
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {&SpecialTokens::fim_separator, {"<|file_sep|>"}},
};

constexpr std::string_view kEndTexts[] = {"<|eot_id|>",
                                          "<|im_end|>",
                                          "<|end|>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<|flush|>",
                                          "<|calls|>",
                                          "<end_of_turn>",
                                          "<|endoftext|>",
                                          "</s>",
                                          "<|eom_id|>",
                                          "<EOT>",
                                          "_<EOT>",
                                          "[EOT]",
                                          "[EOS]",
                                          "<|end_of_text|>",
                                          "<end_of_utterance>",
                                          "<eos>",
                                          "<turn|>",
                                          "<|tool_response>",
                                          "<｜end▁of▁sentence｜>",
                                          "[e~["};

// Parts of gpt-oss's messages that must be seen.
constexpr std::string_view kShownTexts[] = {"<|channel|>", "<|message|>", "<|start|>",
                                            "<|constrain|>"};

std::optional<int32_t> first_token(const FindToken& find, std::span<const std::string_view> texts) {
  for (const std::string_view text : texts) {
    if (text.empty()) break;
    if (const auto id = find(text)) return id;
  }
  return std::nullopt;
}

// Texts that mean one thing in most vocabularies and another beside certain others.
class EndSet {
 public:
  EndSet(const FindToken& find, RecognizedTokens& recognized)
      : find_(find), recognized_(recognized) {}

  void insert(int32_t id) {
    if (id != kNoToken) ids_.insert(id);
  }
  bool has(std::string_view text) const {
    const auto id = find_(text);
    return id && ids_.contains(*id);
  }
  void remove(std::string_view text, std::vector<int32_t>& becomes) {
    if (!has(text)) return;
    ids_.erase(*find_(text));
    becomes.push_back(*find_(text));
  }
  void finish() { recognized_.ends.assign(ids_.begin(), ids_.end()); }

 private:
  const FindToken& find_;
  RecognizedTokens& recognized_;
  std::set<int32_t> ids_;
};

void complete(const FindToken& find, SpecialTokens& special, RecognizedTokens& recognized) {
  for (const NamedTexts& named : kNamedTexts) {
    if (special.*named.id != kNoToken) continue;
    const auto id = first_token(find, named.texts);
    if (!id) continue;
    special.*named.id = *id;
    recognized.control.push_back(*id);
  }
}

}  // namespace

void read_special_ids(const gguf::Metadata& metadata, int32_t n_tokens, SpecialTokens& special) {
  for (const NamedId& named : kNamedIds) {
    const gguf::Value* value = metadata.find(named.key);
    if (value == nullptr) continue;
    const auto id = value->integer();
    if (!id) refuse(named.key, *value, "is no token id");
    if (*id == -1 || *id == UINT32_MAX) {
      special.*named.id = kNoToken;
      continue;
    }
    if (*id < 0 || *id >= n_tokens) refuse(named.key, *value, concat("of ", n_tokens, " tokens"));
    special.*named.id = static_cast<int32_t>(*id);
  }
}

RecognizedTokens recognize_tokens(const FindToken& find, SpecialTokens& special) {
  RecognizedTokens recognized;
  complete(find, special, recognized);
  EndSet ends(find, recognized);
  for (const std::string_view text : kEndTexts) {
    if (const auto id = find(text)) {
      ends.insert(*id);
      recognized.control.push_back(*id);
    }
  }
  for (const std::string_view text : kShownTexts) {
    if (const auto id = find(text)) recognized.user_defined.push_back(*id);
  }
  for (const int32_t id : {special.fim_padding, special.fim_repository, special.fim_separator,
                           special.eos, special.eot, special.eom}) {
    ends.insert(id);
  }
  // gpt-oss and Solar end a part of an answer with <|end|>, not the answer.
  const bool calls = ends.has("<|call|>") || ends.has("<|calls|>");
  if (calls && (ends.has("<|return|>") || ends.has("<|flush|>"))) {
    ends.remove("<|end|>", recognized.user_defined);
  }
  // Gemma 4 and PLaMo have an ordinary </s>.
  if (ends.has("<|tool_response>") || ends.has("<|plamo:eos|>")) {
    ends.remove("</s>", recognized.normal);
  }
  ends.finish();
  return recognized;
}

}  // namespace realm
