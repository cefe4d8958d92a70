// How long a step takes as a function of its rows, learned from the steps that ran. A machine is
// shared and its neighbours come and go, so each width keeps the median of its last few times, and
// since more rows never take less, neighbouring widths that say otherwise are averaged.
//
// One thread. It looks at the clock's values, so nothing that an answer depends on may ask it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace realm {

class CostCurve {
 public:
  void record(int64_t rows, double seconds);

  // Interpolated between the widths that have run; above them as the last two go on, below them and
  // with a single one the nearest one's, which makes what was not tried look cheap. 0 before the
  // first record.
  double seconds(int64_t rows) const;

  // Whether steps of about this width have run.
  bool knows(int64_t rows) const;

 private:
  // Widths up to 16 by themselves, above that four to an octave.
  static constexpr size_t kBins = 64;
  static constexpr size_t kWindow = 7;

  struct Bin {
    std::array<double, kWindow> seconds{};
    size_t n_records = 0;
    double rows = 0;  // mean of late records

    double median() const;
  };
  struct Point {
    double rows, seconds, weight;
  };

  static size_t bin_of(int64_t rows);
  double beyond(double rows) const;
  void rebuild();

  std::array<Bin, kBins> bins_;
  std::vector<Point> points_;  // ascending in both; of the bins with records
};

}  // namespace realm
