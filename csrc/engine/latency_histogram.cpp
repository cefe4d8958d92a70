#include "engine/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace realm {

void LatencyHistogram::add(int64_t ns, uint64_t times) {
  const auto value = static_cast<uint64_t>(std::max<int64_t>(1, ns));
  const int octave = std::bit_width(value) - 1;
  size_t bucket = 0;
  if (octave >= kFirstOctave + kOctaves) {
    bucket = buckets_.size() - 1;
  } else if (octave >= kFirstOctave) {
    const auto step = (value >> (octave - 3)) & 7;
    bucket = static_cast<size_t>((octave - kFirstOctave) * kSteps) + step;
  }
  buckets_[bucket] += times;
  count_ += times;
  max_ns_ = std::max(max_ns_, ns);
  sum_ += static_cast<double>(value) * static_cast<double>(times) * 1e-9;
}

uint64_t LatencyHistogram::count_below(int octave) const {
  const int n = std::clamp(octave - kFirstOctave, 0, kOctaves) * kSteps;
  return std::accumulate(buckets_.begin(), buckets_.begin() + n, uint64_t{0});
}

double LatencyHistogram::quantile(double q) const {
  if (count_ == 0) return 0;
  const auto rank = static_cast<uint64_t>(std::ceil(q * static_cast<double>(count_)));
  uint64_t below = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    below += buckets_[i];
    if (below < rank || below == 0) continue;
    const auto octave = static_cast<int>(i) / kSteps + kFirstOctave;
    const double end = std::ldexp(1.0 + (static_cast<double>(i % kSteps) + 1) / kSteps, octave);
    return std::min(end * 1e-9, max());
  }
  return max();
}

}  // namespace realm
