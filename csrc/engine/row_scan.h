// Whole-row questions about logits, in passes that compilers vectorize.
#pragma once

#include <span>

namespace realm {

// Throws kFormat if a logit is NaN or plus infinity, naming the first such token; kInvalidRequest
// for an empty row or one beyond kMaxVocab.
void check_logits(std::span<const float> row);

// Of a row without NaN.
float largest_of(std::span<const float> row);

}  // namespace realm
