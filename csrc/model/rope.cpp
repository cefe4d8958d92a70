#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/trig.h"

namespace realm {

namespace {

// base^(-2 i / width), rounded to f32 at the same places as the reference implementations.
std::vector<float> inverse_frequencies(float base, int64_t width) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < width; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(width);
    const auto power =
        static_cast<float>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
    frequencies.push_back(1.0f / power);
  }
  return frequencies;
}

std::vector<float> divided(std::vector<float> frequencies, const std::vector<float>& factors) {
  for (size_t i = 0; i < factors.size(); ++i) frequencies[i] /= factors[i];
  return frequencies;
}

// The pair whose wave turns `turns` times over the original context.
double yarn_boundary(const RopeConfig& config, float base, double turns) {
  const double waves =
      static_cast<double>(config.original_context) / (turns * 2 * std::numbers::pi);
  return static_cast<double>(config.width) * std::log(waves) /
         (2 * std::log(static_cast<double>(base)));
}

float longrope_magnitude(const RopeConfig& config, int64_t trained_context) {
  const double factor =
      static_cast<double>(trained_context) / static_cast<double>(config.original_context);
  if (factor <= 1) return 1.0f;
  return static_cast<float>(
      std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(config.original_context))));
}

}  // namespace

RopePlanner::RopePlanner(const RopeConfig& config, float base, const RopeFactors& factors)
    : frequencies_(divided(inverse_frequencies(base, config.width), factors.all)),
      original_context_(config.original_context) {
  if (!factors.long_context.empty()) {
    long_frequencies_ = divided(frequencies_, factors.long_context);
    frequencies_ = divided(frequencies_, factors.short_context);
    magnitude_ = config.attention_factor > 0 ? config.attention_factor
                                             : longrope_magnitude(config, config.trained_context);
    return;
  }
  if (config.scaling == RopeConfig::Scaling::kLinear) {
    for (float& frequency : frequencies_) frequency /= config.factor;
  } else if (config.scaling == RopeConfig::Scaling::kYarn) {
    scale_for_yarn(config, base);
  }
  if (config.attention_factor > 0) magnitude_ *= config.attention_factor;
}

// Fast waves keep their frequency, slow ones are stretched by the factor, those between are
// blended.
void RopePlanner::scale_for_yarn(const RopeConfig& config, float base) {
  const double last = static_cast<double>(config.width - 1);
  const double low = std::max(0.0, std::floor(yarn_boundary(config, base, config.beta_fast)));
  const double high = std::min(last, std::ceil(yarn_boundary(config, base, config.beta_slow)));
  const double span = high == low ? 0.001 : high - low;
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const auto stretched =
        static_cast<float>(std::clamp((static_cast<double>(i) - low) / span, 0.0, 1.0));
    const float slow = frequencies_[i] / config.factor;
    frequencies_[i] = slow * stretched + frequencies_[i] * (1.0f - stretched);
  }
  const auto defined = static_cast<float>(0.1 * std::log(static_cast<double>(config.factor)) + 1.0);
  magnitude_ =
      config.yarn_attention_factor > 0 ? config.yarn_attention_factor : std::max(1.0f, defined);
}

void RopePlanner::plan(std::span<const int32_t> positions, std::span<const int32_t> planned_tokens,
                       float* cos, float* sin) const {
  for (size_t t = 0; t < positions.size(); ++t) {
    const bool is_long = !long_frequencies_.empty() && planned_tokens[t] > original_context_;
    const std::vector<float>& frequencies = is_long ? long_frequencies_ : frequencies_;
    for (const float frequency : frequencies) {
      const SinCos turn =
          sin_cos(static_cast<double>(static_cast<float>(positions[t]) * frequency));
      *cos++ = static_cast<float>(turn.cos) * magnitude_;
      *sin++ = static_cast<float>(turn.sin) * magnitude_;
    }
  }
}

}  // namespace realm
