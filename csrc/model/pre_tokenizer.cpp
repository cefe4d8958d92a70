#include "model/pre_tokenizer.h"

namespace realm {

namespace {

// Patterns that several rows share, as literals so that rows can be composed of them.
#define REALM_CONTRACTION R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]))"
#define REALM_TAIL R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define REALM_TAIL_SLASH R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define REALM_WORD R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define REALM_CASED(upper, lower, suffix)            \
  R"([^\r\n\p{L}\p{N}]?)" upper "*" lower "+" suffix \
  "|"                                                \
  R"([^\r\n\p{L}\p{N}]?)" upper "+" lower "*" suffix "|"
#define REALM_CJK R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)"
#define REALM_PUNCTUATED R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)"

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
constexpr std::string_view kLlama3 = REALM_CONTRACTION "|" REALM_WORD R"(|\p{N}{1,3}|)" REALM_TAIL;
constexpr std::string_view kQwen2 = REALM_CONTRACTION "|" REALM_WORD R"(|\p{N}|)" REALM_TAIL;
// llama.cpp knows no cases but those of ASCII: any other letter is both upper and lower.
constexpr std::string_view kGpt4o =
    REALM_CASED(R"([\p{L}&&[^a-z]])", R"([\p{L}&&[^A-Z]])",
                REALM_CONTRACTION "?") R"(\p{N}{1,3}|)" REALM_TAIL_SLASH;
constexpr std::string_view kTekken =
    REALM_CASED(R"([\p{L}&&[^a-z]])", R"([\p{L}&&[^A-Z]])", "") R"(\p{N}|)" REALM_TAIL_SLASH;
constexpr std::string_view kBloom =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)";
constexpr std::string_view kLines = R"([^\n]+|\n+)";

// The lists of DeepSeek's first generation. Where llama.cpp reads such a class it has already
// replaced white space above ASCII, so that no range that crosses some (U+3000, U+2000..U+200A)
// holds it.
constexpr std::string_view kDeepseekCjk =
    R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}&&\S]+)";
constexpr std::string_view kDeepseekPunctuation =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3001}\x{3002}]+)";
constexpr std::string_view kDeepseekLetters =
    R"(\s?[)"
    R"(A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386})"
    R"(\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F})"
    R"(\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA})"
    R"(\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A})"
    R"(\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D})"
    R"(\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4})"
    R"(\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3})"
    R"(\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107})"
    R"(\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D})"
    R"(\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184})"
    R"(\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D})"
    R"(\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E})"
    R"(\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A})"
    R"(\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})"
    R"(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})"
    R"(]+)";
// White space at the end of a piece. "\s+$" would try every start in a long run that is not at the
// end.
constexpr std::string_view kSpaceAtEnd = R"((?<!\s)\s++\z)";

constexpr PreTokenizer kRows[] = {
    {.names = "default",
     .patterns = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
    {.names = "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     .patterns = {kLlama3},
     .ignore_merges = true,
     .add_bos = true},
    {.names = "dbrx smaug-bpe", .patterns = {kLlama3}},
    {.names = "chatglm-bpe", .patterns = {kLlama3}, .has_default_bos = false},
    {.names = "glm4 glm5", .patterns = {kLlama3}, .ignore_merges = true, .has_default_bos = false},
    {.names = "jais-2",
     .patterns = {REALM_CONTRACTION
                  "|" REALM_WORD
                  R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|)"
                  R"(\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|)"
                  R"(\s{1,2}(?!\S)|\s)"}},
    {.names = "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
     .patterns = {kQwen2}},
    {.names = "qwen35",
     .patterns = {REALM_CONTRACTION
                  R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)"
                  R"(\s*[\r\n]+|\s+(?!\S)|\s+)"}},
    {.names = "ufakzeka", .patterns = {REALM_WORD R"(|\p{N}|)" REALM_TAIL}},
    {.names = "laguna", .patterns = {kLines, kQwen2}},
    {.names = "minicpm5",
     .patterns = {R"(\p{N}{1,3})", REALM_CONTRACTION "|" REALM_WORD R"(|\p{N}+|)" REALM_TAIL},
     .ignore_merges = true},
    {.names = "bailingmoe bailingmoe2 llada-moe",
     .patterns = {R"('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|)" REALM_WORD
                  R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}},
    {.names = "seed-coder",
     .patterns = {REALM_CONTRACTION "|" REALM_WORD
                                    R"(|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
    {.names = "gpt-2 phi-2 jina-es jina-de gigachat a.x-4.0 mellum modern-bert exaone4 jina-v1-en "
              "roberta-bpe mpt olmo jais trillion granite-docling",
     .patterns = {kGpt2}},
    {.names = "jina-v2-es jina-v2-de jina-v2-code", .patterns = {kGpt2}, .trims_before_mask = true},
    {.names = "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
     .patterns = {R"(\p{N})", kGpt2}},
    {.names = "falcon", .patterns = {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"}},
    {.names = "deepseek-llm",
     .patterns = {R"([\r\n])", kDeepseekLetters, kDeepseekPunctuation, kSpaceAtEnd, kDeepseekCjk,
                  R"(\p{N}+)"}},
    {.names = "deepseek-coder",
     .patterns = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCjk, R"(\p{N})"}},
    {.names = "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
     .patterns = {R"(\p{N}{1,3})", REALM_CJK,
                  REALM_PUNCTUATED
                  R"(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)"
                  R"(\s*[\r\n]+|\s+(?!\S)|\s+)"}},
    {.names = "spark2_5",
     .patterns = {R"(\p{N}{1,3})", REALM_CJK,
                  REALM_PUNCTUATED R"(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|)"
                                   R"([\r\n]|\s+(?!\S)|\s+)",
                  R"(\p{N})"}},
    {.names = "youtu",
     .patterns =
         {R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018})"
          R"(\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|)"
          R"([\x{3105}-\x{312F}]+|)" REALM_CJK,
          REALM_CASED(R"([\p{L}\p{M}])", R"([\p{L}\p{M}])",
                      REALM_CONTRACTION "?") R"(\p{N}|)" REALM_TAIL_SLASH},
     .ignore_merges = true},
    {.names = "tekken", .patterns = {kTekken}, .ignore_merges = true, .add_bos = true},
    {.names = "gpt-4o llama4 kanana2 talkie minimax-m2", .patterns = {kGpt4o}},
    {.names = "granite-embed-multi-97m",
     .patterns = {REALM_CASED(R"([\p{L}\p{M}&&[^a-z]])", R"([\p{L}\p{M}&&[^A-Z]])",
                              REALM_CONTRACTION "?") R"(\p{N}{1,3}|)" REALM_TAIL_SLASH},
     .ignore_merges = true},
    {.names = "poro-chat bloom gpt3-finnish", .patterns = {kBloom}},
    {.names = "viking", .patterns = {kBloom, R"(\p{N})"}},
    // llama.cpp adds BOS for Gemma 4 also where the file says not to.
    {.names = "gemma4 granite-embed-multi-311m",
     .patterns = {kLines},
     .add_bos = true,
     .always_add_bos = true,
     .raw = true,
     .newline_tokens = true,
     .breaks_at_words = false},
    {.names = "sarvam-moe", .patterns = {kLines}, .raw = true, .breaks_at_words = false},
};

bool lists(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const size_t space = names.find(' ');
    if (names.substr(0, space) == name) return true;
    names.remove_prefix(space == std::string_view::npos ? names.size() : space + 1);
  }
  return false;
}

}  // namespace

std::span<const PreTokenizer> pre_tokenizers() {
  return kRows;
}

const PreTokenizer* find_pre_tokenizer(std::string_view name) {
  if (name.empty()) name = "default";
  for (const PreTokenizer& row : kRows) {
    if (lists(row.names, name)) return &row;
  }
  return nullptr;
}

}  // namespace realm
