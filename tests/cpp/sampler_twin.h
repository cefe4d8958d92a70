// The slow obvious sampler: full sorts, sums in double, the C library's functions. The oracle of
// engine/sampler in every test about it.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "engine/sampler.h"

namespace realm::test {

using Floats = std::vector<float>;
using Tokens = std::vector<int32_t>;

struct Twin {
  Floats adjusted;  // [V]
  Distribution law;
  bool close = false;  // top_p or min_p came so close to a boundary that rounding decides

  int32_t draw(uint64_t seed, uint64_t position, double temperature) const {
    int32_t best_token = -1;
    double best = 0;
    for (const int32_t token : law.tokens) {
      const double u = TokenNoise(seed, position).uniform(token);
      const double value =
          adjusted[static_cast<size_t>(token)] / temperature - std::log(-std::log(u));
      if (best_token < 0 || value > best) best = value, best_token = token;
    }
    return best_token;
  }
};

inline Floats twin_adjusted(Floats row, const SamplingParams& params, const Tokens& prompt,
                            const Tokens& output) {
  for (size_t i = 0; i < row.size(); ++i) {
    const auto token = static_cast<int32_t>(i);
    const auto n_output = std::count(output.begin(), output.end(), token);
    double value = row[i];
    if (n_output > 0 || std::count(prompt.begin(), prompt.end(), token) > 0) {
      value = value > 0 ? value / params.repetition_penalty : value * params.repetition_penalty;
    }
    value -= params.frequency_penalty * static_cast<double>(n_output);
    if (n_output > 0) value -= params.presence_penalty;
    row[i] = static_cast<float>(value);
    const auto bias = params.logit_bias.find(token);
    if (bias != params.logit_bias.end()) row[i] = static_cast<float>(double{row[i]} + bias->second);
  }
  return row;
}

inline bool nearly(double a, double b) {
  return std::abs(a - b) < 1e-11;
}

// Tokens with their softmax weights; `keep` shortens both.
struct TwinLaw {
  Tokens order;
  std::vector<double> weights;

  void keep(size_t n) {
    order.resize(std::min(n, order.size()));
    weights.resize(order.size());
  }
  double total() const { return std::accumulate(weights.begin(), weights.end(), 0.0); }
};

inline TwinLaw twin_sorted(const Floats& row, double temperature) {
  TwinLaw law;
  for (size_t i = 0; i < row.size(); ++i) {
    if (std::isfinite(row[i])) law.order.push_back(static_cast<int32_t>(i));
  }
  const auto logit = [&](int32_t token) { return double{row[static_cast<size_t>(token)]}; };
  std::stable_sort(law.order.begin(), law.order.end(),
                   [&](int32_t a, int32_t b) { return logit(a) > logit(b); });
  for (const int32_t token : law.order) {
    law.weights.push_back(std::exp((logit(token) - logit(law.order[0])) / temperature));
  }
  return law;
}

inline Twin twin_of(const Floats& row, const SamplingParams& params, const Tokens& prompt = {},
                    const Tokens& output = {}) {
  Twin twin;
  twin.adjusted = twin_adjusted(row, params, prompt, output);
  const bool greedy = params.temperature == 0;
  TwinLaw law = twin_sorted(twin.adjusted, greedy ? 1 : params.temperature);
  if (greedy) law.keep(1);
  if (params.top_k > 0) law.keep(static_cast<size_t>(params.top_k));
  if (params.top_p < 1) {
    const double total = law.total();
    double mass = 0;
    size_t n = 0;
    while (n < law.order.size() && mass < params.top_p * total) {
      mass += law.weights[n++];
      twin.close |= nearly(mass / total, params.top_p);
    }
    law.keep(n);
  }
  size_t n = 0;
  for (const double weight : law.weights) {
    twin.close |= nearly(weight, params.min_p) && params.min_p > 0 && params.min_p < 1;
    n += weight >= params.min_p ? 1 : 0;
  }
  law.keep(n);
  const double total = law.total();
  twin.law.tokens = law.order;
  for (const double weight : law.weights) twin.law.probabilities.push_back(weight / total);
  return twin;
}

// Logits on a grid of 1/8, so that ties abound, or a smooth row without them.
inline Floats random_row(std::mt19937& generator, size_t n_vocab, bool ties, float spread = 3) {
  std::normal_distribution<float> normal(0.0f, spread);
  Floats row(n_vocab);
  for (float& logit : row) {
    logit = normal(generator);
    if (ties) logit = std::round(logit * 8) / 8;
  }
  return row;
}

}  // namespace realm::test
