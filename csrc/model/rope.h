// Rotary angles. Frequencies are made once per model; the angles of a step's rows are planned on
// the host before the forward and uploaded. An angle is the f32 product of position and inverse
// frequency, as the models were trained.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"

namespace realm {

// Divisors of the frequencies that a file carries as tensors; empty when it does not.
struct RopeFactors {
  std::vector<float> all;            // rope_freqs: llama3's
  std::vector<float> short_context;  // rope_factors_short: up to the original context
  std::vector<float> long_context;   // rope_factors_long: beyond it
};

// Whether the rows of a sequence that may reach this length are turned by the long factors, and so
// differ from those of a shorter one.
inline bool takes_long_factors(const RopeConfig& config, const RopeFactors& factors,
                               int64_t planned_tokens) {
  return !factors.long_context.empty() && planned_tokens > config.original_context;
}

class RopePlanner {
 public:
  // `base` replaces config.base (layers with a base of their own); factors are checked against the
  // width.
  RopePlanner(const RopeConfig& config, float base, const RopeFactors& factors);

  int64_t half() const { return static_cast<int64_t>(frequencies_.size()); }
  // Writes cos and sin, [T, half] each. `planned_tokens[t]` is the length that row t's sequence may
  // reach: it alone decides between short and long factors, so that a sequence never changes them
  // half-way.
  void plan(std::span<const int32_t> positions, std::span<const int32_t> planned_tokens, float* cos,
            float* sin) const;

 private:
  void scale_for_yarn(const RopeConfig& config, float base);

  std::vector<float> frequencies_, long_frequencies_;  // the second empty unless they differ
  int64_t original_context_ = 0;
  float magnitude_ = 1.0f;
};

}  // namespace realm
