// Which drafted tokens stand. Pure functions of what the target computed, what was drafted and the
// noise, position by position; both sides come after every filter of sampling (engine/sampler).
//
// Coupled: the target's token is drawn as plain sampling draws it, and a drafted token stands when
// it is that one. So whatever is drafted, the tokens are the plain ones. A drafter that draws from
// its own law with the same noise agrees with probability at least (1 - TV) / (1 + TV), TV being
// the total variation between the laws.
//
// Rejection (Leviathan et al. and Chen et al., 2023): a drafted token stands with probability
// target / draft, which accepts 1 - TV; a refused one is replaced by a draw from the residual, the
// part of the target's law that the draft's does not cover. The law of what stands is the target's,
// provided that each position's numbers are independent of those that the draft was drawn with.
// Greedy is the case of two laws with one token each, a drafter that does not draw that of one with
// a single token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "engine/sampler.h"

namespace realm {

// A number that is uniform in (0, 1), the same each time. Tests integrate over it by branching.
class Uniform {
 public:
  virtual ~Uniform() = default;
  virtual bool below(double bound) = 0;
};

class FixedUniform final : public Uniform {
 public:
  explicit FixedUniform(double value) : value_(value) {}
  bool below(double bound) override { return value_ < bound; }

 private:
  double value_;
};

// The two numbers that rejection decides a position with; independent of each other.
struct RejectionNoise {
  Uniform& accept;
  Uniform& residual;
};

struct DraftedToken {
  int32_t token;
  // What it was drawn from; null if the drafter does not draw.
  const Distribution* law = nullptr;
};

// What stands at a position. If it is the drafted token, the same forward has also judged the next
// position.
struct Verdict {
  int32_t token;
  bool is_draft;
};

inline Verdict accept_coupled(int32_t drawn, int32_t drafted) {
  return {drawn, drawn == drafted};
}

Verdict accept_by_rejection(const Distribution& target, const DraftedToken& drafted,
                            const RejectionNoise& noise);

// Judges positions in order until one does not take its drafted token. `judge(i)` gives the verdict
// at the position after i drafted tokens; it has nothing to compare with at i = n_drafted, where
// is_draft must be false. `stands(token)` is told each token that stands, before the next position
// is judged, and says whether the request goes on. Returns how many drafted tokens stand.
template <class Judge, class Stands>
size_t accept([[maybe_unused]] size_t n_drafted, Judge&& judge, Stands&& stands) {
  for (size_t i = 0;; ++i) {
    const Verdict verdict = judge(i);
    REALM_DCHECK(!verdict.is_draft || i < n_drafted);
    const bool goes_on = stands(verdict.token);
    if (!verdict.is_draft) return i;
    if (!goes_on) return i + 1;
  }
}

}  // namespace realm
