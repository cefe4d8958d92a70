#include "model/logits.h"

#include <cmath>

#include "base/error.h"

namespace realm {

void require_finite(std::span<const float> logits) {
  for (const float value : logits) {
    if (!std::isfinite(value)) {
      fail(ErrorCode::kFormat, "the model computes ", value,
           " as a logit: its weights, or adapters at their scale, hold NaN, infinite or huge "
           "values");
    }
  }
}

}  // namespace realm
