// Ids back to bytes. Any sequence of ids has bytes; they need not be UTF-8 (a byte token may stand
// alone). Stateless; safe from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "model/vocabulary.h"

namespace realm {

// Appends what `id` adds to an output: nothing for a control or unknown token if `skip_special`.
// Throws kInvalidRequest for an id that is not in the vocabulary.
void append_token(const Vocabulary& vocabulary, int32_t id, bool skip_special, std::string& out);

// The bytes of a whole text. Where encoding puts a space before a text, the one at the start is
// taken off again, so that this inverts encoding.
std::string decode_tokens(const Vocabulary& vocabulary, std::span<const int32_t> ids,
                          bool skip_special);

}  // namespace realm
