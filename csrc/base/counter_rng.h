// Random numbers without a state: a pure function of a seed and of what the number is for. A draw
// is therefore the same alone or in a batch, in any order, after a preemption, and for a draft
// model and its target. The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as
// easy as 1, 2, 3", 2011), whose published vectors tests/cpp/counter_rng_test.cpp holds.
//
// No state, any thread; integer and basic double operations only, so the bits are those of every
// machine. What is keyed how is part of what a seed means: a change gives other texts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/exp_log.h"

namespace realm {

using PhiloxBlock = std::array<uint32_t, 4>;

// Ten rounds; `key` is the two key words, low one first.
constexpr PhiloxBlock philox4x32(PhiloxBlock counter, uint64_t key) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ k0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return counter;
}

// What a number decides. Numbers of different uses are independent though all else be equal.
enum class NoiseUse : uint32_t {
  kToken = 0,   // which token stands at a position: plain sampling, and coupled drafts and targets
  kDraft = 1,   // which token a drafter proposes when its draws must not be the target's
  kAccept = 2,  // whether a proposed token is accepted by rejection
  kResidual = 3,  // which token replaces a rejected one
};

// The noise of every token id at one position of the request with this seed. `position` counts the
// tokens before the one that is decided, prompt included.
class TokenNoise {
 public:
  TokenNoise(uint64_t seed, uint64_t position, NoiseUse use = NoiseUse::kToken)
      : seed_(seed), position_(position), use_(use) {}

  // In (0, 1), never an end: an odd multiple of 2^-53. `token` is not negative.
  double uniform(int32_t token) {
    const auto pair = static_cast<uint32_t>(token) >> 1;
    if (pair != pair_) load(pair);
    const size_t word = (static_cast<uint32_t>(token) & 1) * 2;
    const uint64_t bits = uint64_t{block_[word + 1]} << 32 | block_[word];
    return (static_cast<double>(static_cast<int64_t>(bits >> 12)) + 0.5) * 0x1p-52;
  }

  // Of the standard Gumbel distribution, in [-3.7, 36.8]: adding it to logits and taking the
  // largest draws from their softmax.
  double gumbel(int32_t token) { return gumbel_of(uniform(token)); }

  static double gumbel_of(double uniform) { return -log_of_normal(-log_of_normal(uniform)); }

 private:
  // One block serves two neighbouring tokens: a sweep over the vocabulary costs half.
  void load(uint32_t pair) {
    pair_ = pair;
    block_ = philox4x32({pair, static_cast<uint32_t>(position_),
                         static_cast<uint32_t>(position_ >> 32), static_cast<uint32_t>(use_)},
                        seed_);
  }

  uint64_t seed_, position_;
  NoiseUse use_;
  uint32_t pair_ = 0xffffffff;  // no token's
  PhiloxBlock block_{};
};

// A seed for a request that names none, from the operating system.
uint64_t fresh_seed();

}  // namespace realm
