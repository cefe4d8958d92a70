// How long things took, as a histogram. Plain data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace realm {

// Counts durations in buckets that are an eighth of an octave wide, so that quantiles are within 10
// % and memory does not grow. From 1 microsecond to 18 minutes; what is outside counts at the ends.
class LatencyHistogram {
 public:
  void add(int64_t ns, uint64_t times = 1);
  uint64_t count() const { return count_; }
  // Seconds that a part `q` of all durations stay at or below; 0 when there are none.
  double quantile(double q) const;
  double max() const { return static_cast<double>(max_ns_) * 1e-9; }
  double sum() const { return sum_; }
  // Of durations below 2^octave nanoseconds, exactly; octave 10 to 39.
  uint64_t count_below(int octave) const;

 private:
  static constexpr int kFirstOctave = 10, kOctaves = 30, kSteps = 8;
  std::array<uint64_t, kOctaves * kSteps> buckets_{};
  uint64_t count_ = 0;
  int64_t max_ns_ = 0;
  double sum_ = 0;  // seconds
};

}  // namespace realm
