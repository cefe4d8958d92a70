#include "model/detokenize.h"

#include "base/error.h"

namespace realm {

void append_token(const Vocabulary& vocabulary, int32_t id, bool skip_special, std::string& out) {
  REALM_CHECK(id >= 0 && id < vocabulary.size(), "token id ", id, " is not in the vocabulary of ",
              vocabulary.size());
  const TokenKind kind = vocabulary.kind_of(id);
  const bool special = kind == TokenKind::kControl || kind == TokenKind::kUnknown;
  if (!special || !skip_special) out.append(vocabulary.bytes(id));
}

std::string decode_tokens(const Vocabulary& vocabulary, std::span<const int32_t> ids,
                          bool skip_special) {
  std::string out;
  bool at_start = vocabulary.add_space_prefix();
  for (const int32_t id : ids) {
    const size_t begin = out.size();
    append_token(vocabulary, id, skip_special, out);
    if (!at_start || vocabulary.kind_of(id) == TokenKind::kControl) continue;
    if (out.size() > begin && out[begin] == ' ') out.erase(begin, 1);
    at_start = false;
  }
  return out;
}

}  // namespace realm
