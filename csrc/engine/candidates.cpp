#include "engine/candidates.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

namespace realm {

namespace {

using Iterator = std::vector<Candidate>::iterator;

constexpr double kUnitMass = 0x1p40;

uint64_t mass_of(const Candidate& candidate, const Scale& scale) {
  return static_cast<uint64_t>(portable_exp(scale(candidate.logit)) * kUnitMass + 0.5);
}

uint64_t mass_of(Iterator first, Iterator last, const Scale& scale) {
  uint64_t sum = 0;
  for (; first != last; ++first) sum += mass_of(*first, scale);
  return sum;
}

// ceil(part * total), which rounding must not push above the total.
uint64_t part_of(uint64_t total, double part) {
  const double wanted = part * static_cast<double>(total);
  const auto whole = static_cast<uint64_t>(wanted);
  return std::min(total, whole + (static_cast<double>(whole) < wanted ? 1 : 0));
}

// Candidates fall into buckets in order of preference, 32 to each factor of e; the last takes all
// whose mass rounds to nothing.
constexpr size_t kBuckets = 1024;

size_t bucket_of(const Candidate& candidate, const Scale& scale) {
  return static_cast<size_t>(std::min(scale(candidate.logit) * -32, kBuckets - 1.0));
}

// The end of the shortest prefix of [first, last), once in order, that has the mass `needed`.
// Reorders. Halves the range while sorting it would cost more.
Iterator end_of_prefix(Iterator first, Iterator last, const Scale& scale, uint64_t needed) {
  while (last - first > 64) {
    const auto middle = first + (last - first) / 2;
    std::nth_element(first, middle, last, precedes);
    const uint64_t upper = mass_of(first, middle, scale);
    if (upper >= needed) {
      last = middle;
    } else {
      needed -= upper;
      first = middle;
    }
  }
  std::sort(first, last, precedes);
  while (needed > 0) needed -= std::min(needed, mass_of(*first++, scale));
  return first;
}

void keep_best(std::vector<Candidate>& candidates, size_t k) {
  const auto kth = candidates.begin() + static_cast<std::ptrdiff_t>(k);
  std::nth_element(candidates.begin(), kth - 1, candidates.end(), precedes);
  candidates.erase(kth, candidates.end());
}

// Whether one of a few logits beats the bar; without branches, so that compilers vectorize it.
constexpr size_t kTogether = 32;

bool any_above(const float* logits, float bar) {
  unsigned above = 0;
  for (size_t i = 0; i < kTogether; ++i) above |= logits[i] > bar ? 1u : 0u;
  return above != 0;
}

void select_all(std::span<const float> row, std::vector<Candidate>& out) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < row.size(); ++i) {
    if (row[i] > kMasked) out.push_back({row[i], static_cast<int32_t>(i)});
  }
}

}  // namespace

void select_top_k(std::span<const float> row, size_t k, std::vector<Candidate>& out) {
  out.clear();
  if (k == 0 || k >= row.size()) return select_all(row, out);

  // Collects what beats the k-th best of what was compacted last. Ids ascend, so a later equal
  // logit loses its tie and a strict comparison is exact.
  const size_t full = k + std::max<size_t>(k, 64);
  float bar = -std::numeric_limits<float>::infinity();
  for (size_t begin = 0; begin < row.size(); begin += kTogether) {
    const size_t end = std::min(begin + kTogether, row.size());
    if (end - begin == kTogether && !any_above(&row[begin], bar)) continue;
    for (size_t i = begin; i < end; ++i) {
      if (!(row[i] > bar)) continue;
      out.push_back({row[i], static_cast<int32_t>(i)});
      if (out.size() < full) continue;
      keep_best(out, k);
      bar = out.back().logit;  // nth_element leaves the k-th best in its place
    }
  }
  if (out.size() > k) keep_best(out, k);
}

void keep_top_p(std::vector<Candidate>& candidates, const Scale& scale, double top_p) {
  if (top_p >= 1) return;
  std::array<uint64_t, kBuckets> masses{};
  for (const Candidate& c : candidates) masses[bucket_of(c, scale)] += mass_of(c, scale);
  const uint64_t total = std::accumulate(masses.begin(), masses.end(), uint64_t{0});

  // The bucket in which the prefix ends: those before it stay whole, those after it go.
  uint64_t needed = part_of(total, top_p);
  size_t end = 0;
  while (masses[end] < needed) needed -= masses[end++];
  const auto first = std::partition(candidates.begin(), candidates.end(),
                                    [&](const Candidate& c) { return bucket_of(c, scale) < end; });
  const auto last = std::partition(first, candidates.end(),
                                   [&](const Candidate& c) { return bucket_of(c, scale) == end; });
  candidates.erase(end_of_prefix(first, last, scale, needed), candidates.end());
}

void keep_min_p(std::vector<Candidate>& candidates, const Scale& scale, double min_p) {
  if (min_p <= 0) return;
  const double least = portable_log(min_p);
  std::erase_if(candidates, [&](const Candidate& c) { return scale(c.logit) < least; });
}

}  // namespace realm
