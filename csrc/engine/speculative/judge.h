// One position of a verification: which token stands there, for a request's sampling options and
// method. Joins the sampler, the noise and the pure functions of accept.h. A pure function of its
// arguments, as the sampler is; one Judge per thread.
#pragma once

#include <cstdint>

#include "engine/sampler.h"
#include "engine/speculative/accept.h"
#include "engine/speculative/drafter.h"

namespace realm {

// A position to decide: the logits after everything before it, and the request's noise.
struct JudgedRow {
  SampleRow row;
  uint64_t seed;
  uint64_t position;  // tokens before it, prompt included
};

class Judge {
 public:
  // The verdict on draft.tokens[i]; where the draft is that short already, a plain draw. Throws as
  // Sampler does.
  Verdict judge(const JudgedRow& judged, const Draft& draft, size_t i, SpeculativeMethod method);

 private:
  Verdict reject_or_accept(const JudgedRow& judged, const DraftedToken& drafted);

  Sampler sampler_;
  Distribution target_;
};

}  // namespace realm
