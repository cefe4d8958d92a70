#include "engine/speculative/judge.h"

namespace realm {

Verdict Judge::judge(const JudgedRow& judged, const Draft& draft, size_t i,
                     SpeculativeMethod method) {
  if (i < draft.tokens.size() && method == SpeculativeMethod::kRejection) {
    return reject_or_accept(judged,
                            {draft.tokens[i], draft.laws.empty() ? nullptr : &draft.laws[i]});
  }
  const int32_t drawn = sampler_.sample(judged.row, TokenNoise(judged.seed, judged.position));
  if (i >= draft.tokens.size()) return {drawn, false};
  return accept_coupled(drawn, draft.tokens[i]);
}

Verdict Judge::reject_or_accept(const JudgedRow& judged, const DraftedToken& drafted) {
  sampler_.distribution(judged.row, target_);
  const auto uniform = [&](NoiseUse use) {
    return FixedUniform(TokenNoise(judged.seed, judged.position, use).uniform(0));
  };
  FixedUniform accept = uniform(NoiseUse::kAccept), residual = uniform(NoiseUse::kResidual);
  return accept_by_rejection(target_, drafted, {accept, residual});
}

}  // namespace realm
