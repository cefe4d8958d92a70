// The filters of sampling on the tokens that are still in the running. What a filter keeps is a set
// that the logits alone decide: ties fall to the lower token id, and probability mass is counted in
// integers, so neither the order of candidates nor that of a summation can change the set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/exp_log.h"

namespace realm {

struct Candidate {
  float logit;  // after penalties and bias; never NaN or an infinity
  int32_t token;
};

// The order of preference: larger logits first, then lower ids. Total, as ids differ.
inline bool precedes(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

// Temperature: logits as exponents of a softmax whose largest term is 1, thus in [-infinity, 0].
// Subtracting first keeps the quotient from overflowing at any temperature.
struct Scale {
  float largest;       // logit of any candidate
  double temperature;  // above 0

  double operator()(float logit) const {
    return (static_cast<double>(logit) - static_cast<double>(largest)) / temperature;
  }
};

// Vocabularies beyond this would overflow the integers that count mass.
constexpr size_t kMaxVocab = size_t{1} << 23;

// The `k` first tokens of `row` in order of preference, in any order; 0 means all. Tokens at minus
// infinity are masked and never candidates. Linear in the row; allocates only while `out` grows.
void select_top_k(std::span<const float> row, size_t k, std::vector<Candidate>& out);

// Keeps the shortest prefix, in order of preference, that has at least `top_p` of the softmax mass
// of the candidates. A weight counts in steps of 2^-40 of the largest.
void keep_top_p(std::vector<Candidate>& candidates, const Scale& scale, double top_p);

// Keeps candidates whose probability is at least `min_p` times the largest.
void keep_min_p(std::vector<Candidate>& candidates, const Scale& scale, double min_p);

}  // namespace realm
