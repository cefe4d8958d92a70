#include "engine/speculative/judge.h"

namespace realm {

Verdict judge(const JudgedRow& judged, const DraftedToken* drafted, SpeculativeMethod method,
              Sampler& sampler) {
  const auto noise = [&](NoiseUse use) { return TokenNoise(judged.seed, judged.position, use); };
  if (drafted && method == SpeculativeMethod::kRejection) {
    Distribution target;
    sampler.distribution(judged.row, target);
    FixedUniform accept(noise(NoiseUse::kAccept).uniform(0));
    FixedUniform residual(noise(NoiseUse::kResidual).uniform(0));
    return accept_by_rejection(target, *drafted, {accept, residual});
  }
  const int32_t drawn = sampler.sample(judged.row, noise(NoiseUse::kToken));
  return drafted ? accept_coupled(drawn, drafted->token) : Verdict{drawn, false};
}

}  // namespace realm
