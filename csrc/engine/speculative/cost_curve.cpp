#include "engine/speculative/cost_curve.h"

#include <algorithm>
#include <bit>

namespace realm {

namespace {

constexpr int64_t kExact = 16;

}  // namespace

double CostCurve::Bin::median() const {
  std::array<double, kWindow> sorted = seconds;
  const size_t n = std::min(n_records, kWindow);
  // Of an even number the lower one: a step is late more often than early.
  const size_t middle = (n - 1) / 2;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(middle),
                   sorted.begin() + static_cast<std::ptrdiff_t>(n));
  return sorted[middle];
}

size_t CostCurve::bin_of(int64_t rows) {
  if (rows <= kExact) return static_cast<size_t>(std::max<int64_t>(rows, 1) - 1);
  const auto wide = static_cast<uint64_t>(rows);
  const int octave = std::bit_width(wide) - 1;
  const uint64_t quarter = (wide >> (octave - 2)) & 3;
  const size_t bin = kExact + static_cast<size_t>(octave - 4) * 4 + quarter;
  return std::min(bin, kBins - 1);
}

void CostCurve::record(int64_t rows, double seconds) {
  if (!(seconds > 0)) return;
  Bin& bin = bins_[bin_of(rows)];
  bin.seconds[bin.n_records % kWindow] = seconds;
  const double n = static_cast<double>(std::min(bin.n_records, kWindow - 1));
  bin.rows = (bin.rows * n + static_cast<double>(rows)) / (n + 1);
  ++bin.n_records;
  rebuild();
}

// Pools neighbours until times ascend (isotonic regression); a pool keeps its widths, at one time.
void CostCurve::rebuild() {
  struct Pool {
    double seconds, weight;
    size_t n_points;
  };
  points_.clear();
  std::vector<Pool> pools;
  for (const Bin& bin : bins_) {
    if (bin.n_records == 0) continue;
    const double weight = static_cast<double>(std::min(bin.n_records, kWindow));
    points_.push_back({bin.rows, bin.median(), weight});
    pools.push_back({points_.back().seconds, weight, 1});
    while (pools.size() > 1 && pools[pools.size() - 2].seconds > pools.back().seconds) {
      const Pool last = pools.back();
      pools.pop_back();
      Pool& pool = pools.back();
      pool.seconds =
          (pool.seconds * pool.weight + last.seconds * last.weight) / (pool.weight + last.weight);
      pool.weight += last.weight;
      pool.n_points += last.n_points;
    }
  }
  auto point = points_.begin();
  for (const Pool& pool : pools) {
    for (size_t i = 0; i < pool.n_points; ++i) (point++)->seconds = pool.seconds;
  }
}

double CostCurve::seconds(int64_t rows) const {
  if (points_.empty()) return 0;
  const auto wanted = static_cast<double>(rows);
  const auto above = std::lower_bound(points_.begin(), points_.end(), wanted,
                                      [](const Point& p, double at) { return p.rows < at; });
  if (above == points_.end()) return beyond(wanted);
  if (above == points_.begin()) return above->seconds;
  const Point& below = *(above - 1);
  const double part = (wanted - below.rows) / (above->rows - below.rows);
  return below.seconds + part * (above->seconds - below.seconds);
}

// As the last two known widths go on.
double CostCurve::beyond(double rows) const {
  const Point& last = points_.back();
  if (points_.size() < 2) return last.seconds;
  const Point& before = points_[points_.size() - 2];
  const double slope = (last.seconds - before.seconds) / (last.rows - before.rows);
  return last.seconds + slope * (rows - last.rows);
}

bool CostCurve::knows(int64_t rows) const {
  return bins_[bin_of(rows)].n_records > 0;
}

}  // namespace realm
