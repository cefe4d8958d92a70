// One position of a verification: which token stands there, for a request's sampling options and
// method. Joins the sampler, the noise and the pure functions of accept.h; a pure function of its
// arguments, as the sampler is.
#pragma once

#include <cstdint>

#include "engine/sampler.h"
#include "engine/speculative/accept.h"
#include "realm/speculative_config.h"

namespace realm {

// A position to decide: the logits after everything before it, and the request's noise.
struct JudgedRow {
  SampleRow row;
  uint64_t seed;
  uint64_t position;  // tokens before it, prompt included
};

// The verdict on a drafted token; a plain draw where that is null. Throws as Sampler does.
Verdict judge(const JudgedRow& judged, const DraftedToken* drafted, SpeculativeMethod method,
              Sampler& sampler);

}  // namespace realm
