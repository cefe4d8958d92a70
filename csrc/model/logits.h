// What every use of a model's logits checks first.
#pragma once

#include <span>

namespace realm {

// Throws kFormat if a logit is NaN or infinite, naming it.
void require_finite(std::span<const float> logits);

}  // namespace realm
