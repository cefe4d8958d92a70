// Refuses sampling options that make no sense, naming the field and its value. Whoever accepts a
// request calls it once; the sampler relies on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "realm/sampling_params.h"

namespace realm {

constexpr size_t kMaxStops = 64;
constexpr size_t kMaxStopBytes = 1024;  // of one stop string
constexpr size_t kMaxStopTokens = 1024;
constexpr int64_t kMaxLogprobs = 100;

// For options whose model is not known yet.
constexpr int64_t kAnyVocab = std::numeric_limits<int32_t>::max();

// Throws kInvalidRequest. Token ids must be in [0, n_vocab).
void validate(const SamplingParams& params, int64_t n_vocab = kAnyVocab);

}  // namespace realm
